//! The codecs that a reader of binary batches knows, and the one it likes best.
//!
//! Records that are not compressed are understood by everybody. Nothing is compressed here.

use tidegate_proto::compression::Codec;

/// A set of codecs and which of them others are turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Codecs {
    known: u8,
    best: Codec,
}

impl Codecs {
    /// Every codec there is: batches come as they are stored.
    pub const ANY: Codecs = Codecs {
        known: u8::MAX,
        best: Codec::None,
    };

    /// Those of a list, the best liked first; `None` for an empty list.
    pub fn of(list: &[Codec]) -> Option<Self> {
        let best = *list.first()?;
        let known = list
            .iter()
            .fold(bit(Codec::None), |known, codec| known | bit(*codec));
        let is_any = Codec::ALL.iter().all(|codec| known & bit(*codec) != 0);
        // Readers that know everything want the same, whatever they like best.
        Some(if is_any {
            Self::ANY
        } else {
            Self { known, best }
        })
    }

    /// Whether batches in this codec may go out as they are.
    pub fn know(&self, codec: Codec) -> bool {
        self.known & bit(codec) != 0
    }

    /// What batches in other codecs are turned into.
    pub fn best(&self) -> Codec {
        self.best
    }
}

const fn bit(codec: Codec) -> u8 {
    1 << codec.id()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_set_with_a_favourite_and_none_is_always_in_it() {
        let codecs = Codecs::of(&[Codec::Lz4, Codec::Gzip]).unwrap();
        assert_eq!(codecs.best(), Codec::Lz4);
        for codec in Codec::ALL {
            let expected = matches!(codec, Codec::None | Codec::Gzip | Codec::Lz4);
            assert_eq!(codecs.know(codec), expected, "{codec}");
        }
        assert_eq!(Codecs::of(&[]), None);
        let all = [Codec::Zstd, Codec::Lz4, Codec::Snappy, Codec::Gzip];
        assert_eq!(Codecs::of(&all), Some(Codecs::ANY));
    }
}
