//! Files that read back as they were written, and files that were tampered with.

use tidegate_proto::id::{ClusterId, StoreId};
use uuid::Uuid;

use super::*;
use crate::store::{NodeCertificate, Receipt};

fn backup() -> Backup {
    let head = BackupHead {
        cluster_id: ClusterId(Uuid::from_u128(1)),
        store_id: StoreId(Uuid::from_u128(2)),
        revision: 7,
        chain: ChainHash([7; 32]),
        next_producer_id: 1001,
        lease_epoch: 3,
    };
    let certificate = NodeCertificate {
        serial: "0a".to_owned(),
        node: "spu/spu-1".to_owned(),
        issued_at_ms: 1,
        expires_at_ms: 2,
        revoked_at_ms: None,
    };
    let receipt = Receipt {
        principal: "ann".to_owned(),
        key: "k\n\"}".to_owned(),
        request_hash: [9; 32],
        answer: "{}".to_owned(),
        expires_at_ms: 5,
    };
    Backup::new(
        head,
        vec![Record::Certificate(certificate), Record::Receipt(receipt)],
    )
}

fn file() -> Vec<u8> {
    backup_lines(backup(), 1).collect::<String>().into_bytes()
}

fn refused(file: &[u8]) -> String {
    read_backup(file).unwrap_err().to_string()
}

#[test]
fn a_file_reads_back_as_it_was_written() {
    assert_eq!(read_backup(&*file()).unwrap(), backup());
}

#[test]
fn a_file_that_was_cut_anywhere_is_refused() {
    let file = file();
    for length in 0..file.len() {
        let error = read_backup(&file[..length]).unwrap_err();
        let is_told = matches!(
            error,
            BackupFileError::Cut { .. } | BackupFileError::Line { .. }
        );
        assert!(is_told, "{length}: {error}");
    }
    let lines = file.split_inclusive(|byte| *byte == b'\n');
    let all_but_last: Vec<u8> = lines.take(3).flatten().copied().collect();
    assert_eq!(
        refused(&all_but_last),
        "the file was cut: it ends after line 3, without the line that says what is in it"
    );
}

#[test]
fn a_byte_that_was_changed_is_found_in_its_line() {
    let file = file();
    let mut line = 1;
    for at in 0..file.len() {
        let mut changed = file.clone();
        changed[at] ^= 1;
        let error = refused(&changed);
        assert!(
            error.starts_with(&format!("line {line}: ")),
            "byte {at}: {error}"
        );
        line += u64::from(file[at] == b'\n');
    }
}

#[test]
fn lines_that_were_left_out_swapped_repeated_or_added_are_refused() {
    let file = file();
    let lines: Vec<&[u8]> = file.split_inclusive(|byte| *byte == b'\n').collect();
    let put = |order: &[usize]| {
        let bytes = order.iter().flat_map(|at| lines[*at].iter().copied());
        refused(&bytes.collect::<Vec<u8>>())
    };
    assert_eq!(put(&[0, 2, 3]), "line 3: 1 rows came before it, not 2");
    for order in [[0, 2, 1, 3], [0, 1, 1, 3]] {
        assert!(put(&order).starts_with("line 4: the lines before it"));
    }
    assert!(put(&[0, 1, 2, 3, 1]).starts_with("line 5: comes after"));
    assert!(put(&[1, 2, 3]).starts_with("line 1: it is not the first"));
    assert!(put(&[0, 0, 1, 3]).starts_with("line 2: there is no table"));
}

#[test]
fn what_a_later_version_wrote_is_told() {
    let later = line(FIRST, "{\"format\":2,\"anything\":true}");
    assert_eq!(
        refused(later.as_bytes()),
        "the file has format 2; this version reads format 1"
    );
}
