//! The ledger in memory.

use std::collections::BTreeMap;

use super::MemoryStore;
use crate::limits::LEDGER_ROWS_MAX;
use crate::store::fault::{BoxFuture, StoreError};
use crate::store::ledger::{JoinToken, Ledger, NodeCertificate, Receipt, Redeemed, Use};

#[derive(Debug, Default)]
pub(super) struct LedgerState {
    pub(super) receipts: BTreeMap<(String, String), Receipt>,
    pub(super) tokens: BTreeMap<[u8; 32], JoinToken>,
    /// Names that were taken with tokens that name nobody.
    taken: BTreeMap<String, [u8; 32]>,
    pub(super) certificates: BTreeMap<String, NodeCertificate>,
}

/// As many as one answer holds.
const ANSWER_MAX: usize = LEDGER_ROWS_MAX as usize;

impl LedgerState {
    /// Whether there is one for the same principal and key.
    pub(super) fn has_receipt(&self, receipt: &Receipt, now_ms: i64) -> bool {
        let key = (receipt.principal.clone(), receipt.key.clone());
        let before = self.receipts.get(&key);
        before.is_some_and(|before| before.expires_at_ms > now_ms)
    }

    pub(super) fn put_receipt(&mut self, receipt: &Receipt, now_ms: i64) -> bool {
        if self.has_receipt(receipt, now_ms) {
            return false;
        }
        let key = (receipt.principal.clone(), receipt.key.clone());
        self.receipts.insert(key, receipt.clone());
        true
    }

    fn redeem(&mut self, hash: &[u8; 32], by: &str, took: Option<&str>, now_ms: i64) -> Redeemed {
        let taker = took.and_then(|name| self.taken.get(name));
        let is_taken = taker.is_some_and(|taker| self.tokens.contains_key(taker));
        let Some(token) = self.tokens.get_mut(hash) else {
            return Redeemed::Unknown;
        };
        if let Some(before) = &token.used {
            return Redeemed::Before(before.clone());
        }
        if token.expires_at_ms <= now_ms {
            return Redeemed::Expired;
        }
        if is_taken {
            return Redeemed::NameTaken;
        }
        self.taken.extend(took.map(|name| (name.to_owned(), *hash)));
        token.used = Some(Use {
            by: by.to_owned(),
            at_ms: now_ms,
        });
        Redeemed::Now(token.clone())
    }

    fn drop_expired(&mut self, now_ms: i64) -> u64 {
        let count =
            |state: &Self| state.receipts.len() + state.tokens.len() + state.certificates.len();
        let before = count(self);
        self.receipts
            .retain(|_, receipt| receipt.expires_at_ms > now_ms);
        self.tokens.retain(|_, token| token.expires_at_ms > now_ms);
        self.taken
            .retain(|_, taker| self.tokens.contains_key(taker));
        self.certificates
            .retain(|_, certificate| certificate.expires_at_ms > now_ms);
        (before - count(self)) as u64
    }
}

impl Ledger for MemoryStore {
    fn receipt<'a>(
        &'a self,
        principal: &'a str,
        key: &'a str,
        now_ms: i64,
    ) -> BoxFuture<'a, Result<Option<Receipt>, StoreError>> {
        Box::pin(self.reach(move |state| {
            let key = (principal.to_owned(), key.to_owned());
            let found = state.ledger.receipts.get(&key);
            found
                .filter(|receipt| receipt.expires_at_ms > now_ms)
                .cloned()
        }))
    }

    fn put_receipt<'a>(
        &'a self,
        receipt: &'a Receipt,
        now_ms: i64,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.reach(move |state| state.ledger.put_receipt(receipt, now_ms)))
    }

    fn add_join_token<'a>(
        &'a self,
        token: &'a JoinToken,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.reach(move |state| {
            let tokens = &mut state.ledger.tokens;
            let is_new = !tokens.contains_key(&token.hash);
            if is_new {
                tokens.insert(token.hash, token.clone());
            }
            is_new
        }))
    }

    fn join_token<'a>(
        &'a self,
        hash: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Option<JoinToken>, StoreError>> {
        Box::pin(self.reach(move |state| state.ledger.tokens.get(hash).cloned()))
    }

    fn redeem_join_token<'a>(
        &'a self,
        hash: &'a [u8; 32],
        by: &'a str,
        took: Option<&'a str>,
        now_ms: i64,
    ) -> BoxFuture<'a, Result<Redeemed, StoreError>> {
        Box::pin(self.reach(move |state| state.ledger.redeem(hash, by, took, now_ms)))
    }

    fn join_tokens(&self) -> BoxFuture<'_, Result<Vec<JoinToken>, StoreError>> {
        Box::pin(self.reach(|state| {
            let mut tokens: Vec<JoinToken> = state.ledger.tokens.values().cloned().collect();
            tokens.sort_by_key(|token| (token.created_at_ms, token.hash));
            tokens.truncate(ANSWER_MAX);
            tokens
        }))
    }

    fn revoke_join_token<'a>(
        &'a self,
        hash: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.reach(move |state| state.ledger.tokens.remove(hash).is_some()))
    }

    fn add_certificate<'a>(
        &'a self,
        certificate: &'a NodeCertificate,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.reach(move |state| {
            let certificates = &mut state.ledger.certificates;
            let is_new = !certificates.contains_key(&certificate.serial);
            if is_new {
                certificates.insert(certificate.serial.clone(), certificate.clone());
            }
            is_new
        }))
    }

    fn certificate<'a>(
        &'a self,
        serial: &'a str,
    ) -> BoxFuture<'a, Result<Option<NodeCertificate>, StoreError>> {
        Box::pin(self.reach(move |state| state.ledger.certificates.get(serial).cloned()))
    }

    fn is_certified<'a>(
        &'a self,
        node: &'a str,
        now_ms: i64,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.reach(move |state| {
            let mut all = state.ledger.certificates.values();
            all.any(|it| it.node == node && it.expires_at_ms > now_ms && it.revoked_at_ms.is_none())
        }))
    }

    fn certificates<'a>(
        &'a self,
        node: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<NodeCertificate>, StoreError>> {
        Box::pin(self.reach(move |state| {
            let all = state.ledger.certificates.values();
            let of_it = all.filter(|certificate| node.is_none_or(|node| certificate.node == node));
            let mut found: Vec<NodeCertificate> = of_it.cloned().collect();
            found.sort_by(|one, other| {
                let order = |it: &NodeCertificate| (it.node.clone(), it.issued_at_ms);
                order(one).cmp(&order(other))
            });
            found.truncate(ANSWER_MAX);
            found
        }))
    }

    fn revoke_certificates<'a>(
        &'a self,
        node: &'a str,
        now_ms: i64,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(self.reach(move |state| {
            let mut revoked = 0;
            for certificate in state.ledger.certificates.values_mut() {
                if certificate.node == node && certificate.revoked_at_ms.is_none() {
                    certificate.revoked_at_ms = Some(now_ms);
                    revoked += 1;
                }
            }
            revoked
        }))
    }

    fn drop_expired(&self, now_ms: i64) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.reach(move |state| state.ledger.drop_expired(now_ms)))
    }
}
