//! Which way up a JPEG file is shown. Exif 2.32 (CIPA DC-008), section 4.6.4, tag 'Orientation'; TIFF 6.0, section 2.
//!
//! Only whether width and height change places is told. The picture itself is turned by whoever decodes it.

/// The marker of the segments that hold Exif, among others.
const APP1: u8 = 0xe1;
/// The marker of the picture itself, behind which nothing is looked for.
const START_OF_SCAN: u8 = 0xda;
/// What Exif begins with in its segment; a TIFF file follows.
const EXIF: &[u8] = b"Exif\0\0";
/// The number of the tag.
const ORIENTATION: u16 = 0x0112;
/// The type of its value: 16 bits.
const SHORT: u16 = 3;
/// The length of an entry of a directory of tags, in bytes.
const ENTRY: usize = 12;

/// Whether the JPEG file `bytes` is to be turned by 90° or 270° when it is shown. Of several Exif segments the first
/// counts, as in browsers.
pub(super) fn lies_on_its_side(bytes: &[u8]) -> bool {
    let orientation = exif(bytes).and_then(Tiff::new).and_then(Tiff::orientation);
    orientation.is_some_and(|orientation| (5..=8).contains(&orientation))
}

/// The TIFF file in the first Exif segment of a JPEG file.
fn exif(jpeg: &[u8]) -> Option<&[u8]> {
    let mut rest = jpeg.get(2..)?;
    loop {
        let (marker, content, after) = segment(rest)?;
        let tiff = content.strip_prefix(EXIF).filter(|_| marker == APP1);
        if tiff.is_some() || marker == START_OF_SCAN {
            return tiff;
        }
        rest = after;
    }
}

/// The marker and the content of the segment that `bytes` begin with, and what follows. It has at least four bytes.
fn segment(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [0xff, marker, high, low] = *bytes.first_chunk()? else {
        return None;
    };
    // The length counts its own two bytes.
    let end = 2 + usize::from(u16::from_be_bytes([high, low]));
    Some((marker, bytes.get(4..end)?, bytes.get(end..)?))
}

/// A TIFF file.
#[derive(Clone, Copy)]
struct Tiff<'a> {
    bytes: &'a [u8],
    is_little_endian: bool,
}

impl<'a> Tiff<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let is_little_endian = match bytes.first_chunk()? {
            b"II*\0" => true,
            b"MM\0*" => false,
            _ => return None,
        };
        Some(Self {
            bytes,
            is_little_endian,
        })
    }

    /// The orientation that its first directory tells.
    fn orientation(self) -> Option<u16> {
        let directory = usize::try_from(self.long(4)?).ok()?;
        // There are these bytes, and so nothing below comes near the greatest number.
        let count = usize::from(self.short(directory)?);
        let mut entries = (0..count).map(|index| directory + 2 + index * ENTRY);
        let entry = entries.find(|entry| {
            let is_one = || self.short(entry + 2) == Some(SHORT) && self.long(entry + 4) == Some(1);
            self.short(*entry) == Some(ORIENTATION) && is_one()
        })?;
        self.short(entry + 8)
    }

    fn short(self, at: usize) -> Option<u16> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        let read = if self.is_little_endian {
            u16::from_le_bytes
        } else {
            u16::from_be_bytes
        };
        Some(read(bytes))
    }

    fn long(self, at: usize) -> Option<u32> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        let read = if self.is_little_endian {
            u32::from_le_bytes
        } else {
            u32::from_be_bytes
        };
        Some(read(bytes))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// The head of a JPEG file of 100 × 50 pixels with that orientation.
    pub(in crate::media) fn jpeg(orientation: u16) -> Vec<u8> {
        let tiff = [
            b"MM\0*\0\0\0\x08\0\x02".as_slice(),
            b"\x01\x0f\0\x02\0\0\0\x02A\0\0\0",
            b"\x01\x12\0\x03\0\0\0\x01",
            &orientation.to_be_bytes(),
            b"\0\0\0\0\0\0",
        ]
        .concat();
        with_exif(&tiff)
    }

    fn with_exif(tiff: &[u8]) -> Vec<u8> {
        let length = u16::try_from(2 + EXIF.len() + tiff.len()).unwrap_or(u16::MAX);
        [
            b"\xff\xd8\xff\xe0\0\x04JF\xff\xe1".as_slice(),
            &length.to_be_bytes(),
            EXIF,
            tiff,
            b"\xff\xc0\0\x0b\x08\0\x32\0\x64\x01\x01\x11\0\xff\xda\0\x02",
        ]
        .concat()
    }

    #[test]
    fn half_of_the_orientations_are_sideways() {
        for orientation in [0, 1, 2, 3, 4, 9, 0x0600] {
            assert!(!lies_on_its_side(&jpeg(orientation)), "{orientation}");
        }
        for orientation in 5..=8 {
            assert!(lies_on_its_side(&jpeg(orientation)), "{orientation}");
        }
    }

    #[test]
    fn both_orders_of_bytes_are_read() {
        let little = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        assert!(lies_on_its_side(&with_exif(little)));
    }

    #[test]
    fn what_is_no_short_is_no_orientation() {
        let long = b"II*\0\x08\0\0\0\x01\0\x12\x01\x04\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        assert!(!lies_on_its_side(&with_exif(long)));
    }

    #[test]
    fn nothing_is_looked_for_behind_the_picture() {
        let behind = [b"\xff\xd8\xff\xda\0\x02", jpeg(6).get(2..).unwrap_or_default()].concat();
        assert!(!lies_on_its_side(&behind));
    }

    proptest! {
        #[test]
        fn random_bytes_are_read_without_harm(bytes in vec(any::<u8>(), 0..200)) {
            lies_on_its_side(&bytes);
            lies_on_its_side(&with_exif(&bytes));
            for order in [b"II*\0", b"MM\0*"] {
                lies_on_its_side(&with_exif(&[order, bytes.as_slice()].concat()));
            }
        }

        #[test]
        fn damaged_files_are_read_without_harm(
            changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            end in any::<prop::sample::Index>(),
        ) {
            let mut bytes = jpeg(6);
            for (at, byte) in changes {
                *at.get_mut(&mut bytes) = byte;
            }
            bytes.truncate(end.index(bytes.len() + 1));
            lies_on_its_side(&bytes);
        }
    }
}
