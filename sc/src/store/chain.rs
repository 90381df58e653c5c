//! The hash chain over commits.
//!
//! `hash(r) = SHA-256(hash(r - 1) || digest(commit r))`, from a start that depends on the cluster. The
//! digest covers who, when and every event; its input is the same for every kind of store, so equal
//! histories have equal hashes wherever they are kept.

use ring::digest::{Context, SHA256};
use tidegate_proto::chain::ChainHash;
use tidegate_proto::id::ClusterId;

use super::meta_store::Commit;

/// Ties the chain to this use of the hash, and to this layout of its input.
const DOMAIN: &[u8] = b"tidegate metadata chain 1";

/// The hash of a store without commits.
pub(super) fn start(cluster_id: ClusterId) -> ChainHash {
    let mut hash = Context::new(&SHA256);
    hash.update(DOMAIN);
    hash.update(cluster_id.as_bytes());
    finish(hash)
}

/// The hash after a commit with that digest.
pub(super) fn next(before: ChainHash, digest: [u8; 32]) -> ChainHash {
    let mut hash = Context::new(&SHA256);
    hash.update(&before.0);
    hash.update(&digest);
    finish(hash)
}

/// The hash after that commit.
pub(crate) fn after(before: ChainHash, commit: &Commit) -> ChainHash {
    next(before, digest(commit))
}

/// What a commit adds to the chain.
pub(super) fn digest(commit: &Commit) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    hash.update(commit.id.as_bytes());
    hash.update(&commit.at_ms.to_be_bytes());
    text(&mut hash, &commit.actor);
    text(&mut hash, &commit.request_id);
    for change in &commit.changes {
        hash.update(&[u8::from(change.is_delete())]);
        text(&mut hash, change.kind().as_str());
        text(&mut hash, &change.key());
        text(
            &mut hash,
            &change.payload().expect("rows have string keys only"),
        );
    }
    finish(hash).0
}

/// With its length before it, so that no two sequences of texts look the same.
fn text(hash: &mut Context, text: &str) {
    hash.update(&(text.len() as u64).to_be_bytes());
    hash.update(text.as_bytes());
}

fn finish(hash: Context) -> ChainHash {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.finish().as_ref());
    ChainHash(bytes)
}
