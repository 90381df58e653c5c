//! Little-endian numbers in byte slices: the only place where disk formats are taken apart.
//!
//! Reading past the end gives `None`, never a panic: the bytes come from a disk.

use uuid::Uuid;

/// Reads numbers from the front of a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(crate) fn uuid(&mut self) -> Option<Uuid> {
        self.array().map(Uuid::from_bytes)
    }

    /// An id that is there only when the flag before it is 1.
    pub(crate) fn optional_uuid(&mut self) -> Option<Option<Uuid>> {
        let flag = self.u32()?;
        let id = self.uuid()?;
        match flag {
            0 => Some(None),
            1 => Some(Some(id)),
            _ => None,
        }
    }

    /// A number that is there only when the flag before it is 1.
    pub(crate) fn optional_u64(&mut self) -> Option<Option<u64>> {
        let flag = self.u32()?;
        let number = self.u64()?;
        match flag {
            0 => Some(None),
            1 => Some(Some(number)),
            _ => None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }
}

/// Appends numbers to a buffer.
pub(crate) trait Put {
    fn put(&mut self, bytes: &[u8]);

    fn put_u32(&mut self, number: u32) {
        self.put(&number.to_le_bytes());
    }

    fn put_u64(&mut self, number: u64) {
        self.put(&number.to_le_bytes());
    }

    fn put_i64(&mut self, number: i64) {
        self.put(&number.to_le_bytes());
    }

    fn put_uuid(&mut self, id: Uuid) {
        self.put(id.as_bytes());
    }

    fn put_optional_uuid(&mut self, id: Option<Uuid>) {
        self.put_u32(u32::from(id.is_some()));
        self.put_uuid(id.unwrap_or_default());
    }

    fn put_optional_u64(&mut self, number: Option<u64>) {
        self.put_u32(u32::from(number.is_some()));
        self.put_u64(number.unwrap_or(0));
    }
}

impl Put for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Magic, CRC and length before the contents of a sealed file.
const SEAL_LEN: usize = 16;

/// Puts magic, length and CRC32C around a file's contents.
pub(crate) fn seal(magic: [u8; 4], body: &[u8]) -> Vec<u8> {
    seal_with(magic, body.len(), |file| file.put(body))
}

/// The same with contents that are written in place, `len` bytes of them: for large ones.
pub(crate) fn seal_with(magic: [u8; 4], len: usize, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut file = Vec::with_capacity(len + SEAL_LEN);
    file.resize(SEAL_LEN, 0);
    write(&mut file);
    let body = &file[SEAL_LEN..];
    let mut head = Vec::with_capacity(SEAL_LEN);
    head.put(&magic);
    head.put_u32(crc32c::crc32c(body));
    head.put_u64(body.len() as u64);
    file[..SEAL_LEN].copy_from_slice(&head);
    file
}

/// The contents, when magic, length and CRC are right; otherwise what is wrong.
pub(crate) fn unseal(magic: [u8; 4], file: &[u8]) -> Result<&[u8], &'static str> {
    let mut reader = Reader::new(file);
    if reader.bytes(4) != Some(&magic[..]) {
        return Err("it does not begin as this kind of file does");
    }
    let (Some(crc), Some(len)) = (reader.u32(), reader.u64()) else {
        return Err("it is too short");
    };
    if reader.len() as u64 != len {
        return Err("its length is not the one it states");
    }
    let body = reader.bytes(reader.len()).unwrap_or_default();
    if crc32c::crc32c(body) == crc {
        Ok(body)
    } else {
        Err("its checksum does not match")
    }
}
