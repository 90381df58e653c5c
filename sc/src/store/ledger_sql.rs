//! The ledger in SQL. The statements are the same for both databases, so they are written once; a
//! macro, because the two libraries share no types that would let a function take either.

/// Implements [`Ledger`](super::ledger::Ledger) for `$store`, which has a `pool`; `$failure` turns an
/// error of the database into ours, and a macro `within!` in scope lends a connection.
macro_rules! ledger_for {
    ($store:ty, $failure:path) => {
        impl $crate::store::ledger::Ledger for $store {
            fn receipt<'a>(
                &'a self,
                principal: &'a str,
                key: &'a str,
                now_ms: i64,
            ) -> BoxFuture<'a, Result<Option<Receipt>, StoreError>> {
                let query = sqlx::query(
                    "SELECT request_hash, answer, expires_at_ms FROM receipts
                     WHERE principal = $1 AND key = $2 AND expires_at_ms > $3",
                );
                let query = query.bind(principal).bind(key).bind(now_ms);
                Box::pin(async move {
                    let row = within!(self.pool, STORE_CALL_TIMEOUT, conn => async {
                        query.fetch_optional(&mut *conn).await.map_err($failure)
                    })?;
                    let Some(row) = row else { return Ok(None) };
                    Ok(Some(Receipt {
                        principal: principal.to_owned(),
                        key: key.to_owned(),
                        request_hash: hash(&row.try_get::<Vec<u8>, _>(0).map_err($failure)?)?,
                        answer: row.try_get(1).map_err($failure)?,
                        expires_at_ms: row.try_get(2).map_err($failure)?,
                    }))
                })
            }

            fn put_receipt<'a>(
                &'a self,
                receipt: &'a Receipt,
                now_ms: i64,
            ) -> BoxFuture<'a, Result<bool, StoreError>> {
                let query = sqlx::query(PUT_RECEIPT)
                    .bind(&receipt.principal)
                    .bind(&receipt.key)
                    .bind(&receipt.request_hash[..])
                    .bind(&receipt.answer)
                    .bind(receipt.expires_at_ms)
                    .bind(now_ms);
                Box::pin(async move {
                    within!(self.pool, STORE_CALL_TIMEOUT, conn => async {
                        let done = query.execute(&mut *conn).await.map_err($failure)?;
                        Ok(done.rows_affected() == 1)
                    })
                })
            }

            fn add_join_token<'a>(
                &'a self,
                token: &'a JoinToken,
            ) -> BoxFuture<'a, Result<bool, StoreError>> {
                let query = sqlx::query(
                    "INSERT INTO join_tokens (hash, role, scope, created_by, created_at_ms,
                                              expires_at_ms)
                     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
                );
                let query = query
                    .bind(&token.hash[..])
                    .bind(&token.role)
                    .bind(&token.scope)
                    .bind(&token.created_by)
                    .bind(token.created_at_ms)
                    .bind(token.expires_at_ms);
                Box::pin(async move {
                    within!(self.pool, STORE_CALL_TIMEOUT, conn => async {
                        let done = query.execute(&mut *conn).await.map_err($failure)?;
                        Ok(done.rows_affected() == 1)
                    })
                })
            }

            fn join_token<'a>(
                &'a self,
                hash: &'a [u8; 32],
            ) -> BoxFuture<'a, Result<Option<JoinToken>, StoreError>> {
                let query = sqlx::query(JOIN_TOKEN);
                let query = query.bind(&hash[..]);
                Box::pin(async move {
                    let row = within!(self.pool, STORE_CALL_TIMEOUT, conn => async {
                        query.fetch_optional(&mut *conn).await.map_err($failure)
                    })?;
                    let Some(row) = row else { return Ok(None) };
                    Ok(Some(join_token!(row, $failure)))
                })
            }

            fn redeem_join_token<'a>(
                &'a self,
                hash: &'a [u8; 32],
                by: &'a str,
                took: Option<&'a str>,
                now_ms: i64,
            ) -> BoxFuture<'a, Result<Redeemed, StoreError>> {
                // Conditional on being unused, so that of two at once one gets it.
                let redeem = sqlx::query(
                    "UPDATE join_tokens SET used_by = $2, used_at_ms = $3
                     WHERE hash = $1 AND used_by IS NULL AND expires_at_ms > $3",
                );
                let redeem = redeem.bind(&hash[..]).bind(by).bind(now_ms);
                let take = sqlx::query("INSERT INTO taken_names (name, hash) VALUES ($1, $2)");
                let take = took.map(|name| take.bind(name).bind(&hash[..]));
                Box::pin(async move {
                    let found = within!(self.pool, STORE_CALL_TIMEOUT, conn => async {
                        let mut tx = sqlx::Connection::begin(&mut *conn).await.map_err($failure)?;
                        let done = redeem.execute(&mut *tx).await.map_err($failure)?;
                        let is_ours = done.rows_affected() == 1;
                        if let Some(take) = take.filter(|_| is_ours) {
                            match take.execute(&mut *tx).await {
                                Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                                    tx.rollback().await.map_err($failure)?;
                                    return Ok(None);
                                }
                                done => done.map_err($failure)?,
                            };
                        }
                        let select = sqlx::query(JOIN_TOKEN).bind(&hash[..]);
                        let row = select.fetch_optional(&mut *tx).await.map_err($failure)?;
                        tx.commit().await.map_err($failure)?;
                        Ok::<_, StoreError>(Some((is_ours, row)))
                    })?;
                    let Some((is_ours, row)) = found else {
                        return Ok(Redeemed::NameTaken);
                    };
                    let Some(row) = row else {
                        return Ok(Redeemed::Unknown);
                    };
                    let token = join_token!(row, $failure);
                    Ok(match token.used.clone() {
                        Some(_) if is_ours => Redeemed::Now(token),
                        Some(before) => Redeemed::Before(before),
                        None => Redeemed::Expired,
                    })
                })
            }

            fn join_tokens(&self) -> BoxFuture<'_, Result<Vec<JoinToken>, StoreError>> {
                let query = sqlx::query(JOIN_TOKENS);
                let query = query.bind(LEDGER_ROWS_MAX);
                Box::pin(async move {
                    let rows = within!(self.pool, STORE_CALL_TIMEOUT, conn => async {
                        query.fetch_all(&mut *conn).await.map_err($failure)
                    })?;
                    let mut tokens = Vec::with_capacity(rows.len());
                    for row in rows {
                        tokens.push(join_token!(row, $failure));
                    }
                    Ok(tokens)
                })
            }

            fn revoke_join_token<'a>(
                &'a self,
                hash: &'a [u8; 32],
            ) -> BoxFuture<'a, Result<bool, StoreError>> {
                let query = sqlx::query("DELETE FROM join_tokens WHERE hash = $1").bind(&hash[..]);
                Box::pin(async move {
                    within!(self.pool, STORE_CALL_TIMEOUT, conn => async {
                        let done = query.execute(&mut *conn).await.map_err($failure)?;
                        Ok(done.rows_affected() == 1)
                    })
                })
            }

            fn add_certificate<'a>(
                &'a self,
                certificate: &'a NodeCertificate,
            ) -> BoxFuture<'a, Result<bool, StoreError>> {
                let query = sqlx::query(
                    "INSERT INTO node_certificates
                         (serial, node, issued_at_ms, expires_at_ms, revoked_at_ms)
                     VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
                );
                let query = query
                    .bind(&certificate.serial)
                    .bind(&certificate.node)
                    .bind(certificate.issued_at_ms)
                    .bind(certificate.expires_at_ms)
                    .bind(certificate.revoked_at_ms);
                Box::pin(async move {
                    within!(self.pool, STORE_CALL_TIMEOUT, conn => async {
                        let done = query.execute(&mut *conn).await.map_err($failure)?;
                        Ok(done.rows_affected() == 1)
                    })
                })
            }

            fn certificate<'a>(
                &'a self,
                serial: &'a str,
            ) -> BoxFuture<'a, Result<Option<NodeCertificate>, StoreError>> {
                let query = sqlx::query(CERTIFICATE);
                let query = query.bind(serial);
                Box::pin(async move {
                    let row = within!(self.pool, STORE_CALL_TIMEOUT, conn => async {
                        query.fetch_optional(&mut *conn).await.map_err($failure)
                    })?;
                    let Some(row) = row else { return Ok(None) };
                    Ok(Some(node_certificate!(row, $failure)))
                })
            }

            fn is_certified<'a>(
                &'a self,
                node: &'a str,
                now_ms: i64,
            ) -> BoxFuture<'a, Result<bool, StoreError>> {
                let query = sqlx::query_scalar(
                    "SELECT EXISTS (SELECT 1 FROM node_certificates
                     WHERE node = $1 AND expires_at_ms > $2 AND revoked_at_ms IS NULL)",
                );
                let query = query.bind(node).bind(now_ms);
                Box::pin(async move {
                    within!(self.pool, STORE_CALL_TIMEOUT, conn => async {
                        query.fetch_one(&mut *conn).await.map_err($failure)
                    })
                })
            }

            fn certificates<'a>(
                &'a self,
                node: Option<&'a str>,
            ) -> BoxFuture<'a, Result<Vec<NodeCertificate>, StoreError>> {
                let query = sqlx::query(CERTIFICATES);
                let query = query.bind(node).bind(LEDGER_ROWS_MAX);
                Box::pin(async move {
                    let rows = within!(self.pool, STORE_CALL_TIMEOUT, conn => async {
                        query.fetch_all(&mut *conn).await.map_err($failure)
                    })?;
                    let mut certificates = Vec::with_capacity(rows.len());
                    for row in rows {
                        certificates.push(node_certificate!(row, $failure));
                    }
                    Ok(certificates)
                })
            }

            fn revoke_certificates<'a>(
                &'a self,
                node: &'a str,
                now_ms: i64,
            ) -> BoxFuture<'a, Result<u64, StoreError>> {
                let query = sqlx::query(
                    "UPDATE node_certificates SET revoked_at_ms = $2
                     WHERE node = $1 AND revoked_at_ms IS NULL",
                );
                let query = query.bind(node).bind(now_ms);
                Box::pin(async move {
                    within!(self.pool, STORE_CALL_TIMEOUT, conn => async {
                        let done = query.execute(&mut *conn).await.map_err($failure)?;
                        Ok(done.rows_affected())
                    })
                })
            }

            fn drop_expired(&self, now_ms: i64) -> BoxFuture<'_, Result<u64, StoreError>> {
                let statements = [
                    "DELETE FROM receipts WHERE expires_at_ms <= $1",
                    "DELETE FROM join_tokens WHERE expires_at_ms <= $1",
                    "DELETE FROM node_certificates WHERE expires_at_ms <= $1",
                ];
                Box::pin(async move {
                    within!(self.pool, STORE_CALL_TIMEOUT, conn => async {
                        let mut dropped = 0;
                        for statement in statements {
                            let query = sqlx::query(statement).bind(now_ms);
                            let done = query.execute(&mut *conn).await.map_err($failure)?;
                            dropped += done.rows_affected();
                        }
                        Ok(dropped)
                    })
                })
            }
        }
    };
}

/// A row of `join_tokens`, of either database.
macro_rules! join_token {
    ($row:expr, $failure:path) => {{
        let used_by: Option<String> = $row.try_get("used_by").map_err($failure)?;
        let used_at_ms: Option<i64> = $row.try_get("used_at_ms").map_err($failure)?;
        let hash_bytes: Vec<u8> = $row.try_get("hash").map_err($failure)?;
        JoinToken {
            hash: hash(&hash_bytes)?,
            role: $row.try_get("role").map_err($failure)?,
            scope: $row.try_get("scope").map_err($failure)?,
            created_by: $row.try_get("created_by").map_err($failure)?,
            created_at_ms: $row.try_get("created_at_ms").map_err($failure)?,
            expires_at_ms: $row.try_get("expires_at_ms").map_err($failure)?,
            used: used_by.zip(used_at_ms).map(|(by, at_ms)| Use { by, at_ms }),
        }
    }};
}

/// A row of `node_certificates`, of either database.
macro_rules! node_certificate {
    ($row:expr, $failure:path) => {
        NodeCertificate {
            serial: $row.try_get("serial").map_err($failure)?,
            node: $row.try_get("node").map_err($failure)?,
            issued_at_ms: $row.try_get("issued_at_ms").map_err($failure)?,
            expires_at_ms: $row.try_get("expires_at_ms").map_err($failure)?,
            revoked_at_ms: $row.try_get("revoked_at_ms").map_err($failure)?,
        }
    };
}

pub(super) use {join_token, ledger_for, node_certificate};

use super::fault::StoreError;

// Columns are named: on Postgres those who run go on while a newer version adds some, and what was prepared
// for all of them fails then.
pub(super) const JOIN_TOKEN: &str =
    "SELECT hash, role, scope, created_by, created_at_ms, expires_at_ms, used_by, used_at_ms
     FROM join_tokens WHERE hash = $1";

/// The oldest first.
pub(super) const JOIN_TOKENS: &str =
    "SELECT hash, role, scope, created_by, created_at_ms, expires_at_ms, used_by, used_at_ms
     FROM join_tokens ORDER BY created_at_ms, hash LIMIT $1";

pub(super) const CERTIFICATE: &str =
    "SELECT serial, node, issued_at_ms, expires_at_ms, revoked_at_ms
     FROM node_certificates WHERE serial = $1";

/// Those of one node, or all.
pub(super) const CERTIFICATES: &str =
    "SELECT serial, node, issued_at_ms, expires_at_ms, revoked_at_ms
     FROM node_certificates WHERE $1 IS NULL OR node = $1
     ORDER BY node, issued_at_ms, serial LIMIT $2";

/// Keeps a receipt unless there is one; one that has expired and was not dropped yet stands in
/// nobody's way.
pub(super) const PUT_RECEIPT: &str =
    "INSERT INTO receipts (principal, key, request_hash, answer, expires_at_ms)
     VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (principal, key) DO UPDATE
     SET request_hash = excluded.request_hash, answer = excluded.answer,
         expires_at_ms = excluded.expires_at_ms
     WHERE receipts.expires_at_ms <= $6";

/// 32 bytes of a column.
pub(super) fn hash(bytes: &[u8]) -> Result<[u8; 32], StoreError> {
    let found = bytes.len();
    bytes
        .try_into()
        .map_err(|_| StoreError::Damaged(format!("a hash of {found} bytes")))
}
