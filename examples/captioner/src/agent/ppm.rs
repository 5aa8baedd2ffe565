//! Netpbm's P6, read as it comes: of a picture nothing is kept but its measures.
//!
//! Whoever sends pictures is hostile: the header, the sides and the number of pixels are
//! bounded, and a picture costs the same few bytes whatever its size.

use super::measure::Measures;

/// Bytes of a header, its comments included.
const HEADER_BYTES_MAX: usize = 512;
/// Pixels of one side.
const SIDE_MAX: u32 = 16_384;
/// Pixels of a picture.
const PIXELS_MAX: u64 = 1 << 24;

/// Why a picture can't be read. The text is for whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PpmError {
    /// It begins otherwise.
    #[error("not a PPM picture of the form P6")]
    NotP6,
    /// What should be a number of the header is none, or not a possible one.
    #[error("the header has no valid width, height and greatest value")]
    Header,
    /// The header has no end.
    #[error("the header is longer than {HEADER_BYTES_MAX} bytes")]
    HeaderTooLong,
    /// More pixels than are read.
    #[error("larger than {SIDE_MAX} pixels a side or {PIXELS_MAX} in all")]
    TooLarge,
    /// A value over the greatest one that the header allows.
    #[error("a pixel has a value over the greatest one")]
    Value,
    /// It ended too early.
    #[error("the picture ends before its last pixel")]
    Short,
    /// Something follows.
    #[error("bytes follow the last pixel")]
    Long,
}

/// Reads one picture.
#[derive(Debug, Default)]
pub struct Decoder {
    header: Header,
    raster: Option<Raster>,
}

impl Decoder {
    /// Takes the next bytes, of whatever length.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), PpmError> {
        while self.raster.is_none() {
            let Some((first, rest)) = bytes.split_first() else { return Ok(()) };
            bytes = rest;
            self.raster = self.header.push(*first)?;
        }
        self.raster.as_mut().map_or(Ok(()), |raster| raster.feed(bytes))
    }

    /// The measures of the picture, if all of it came.
    pub fn finish(self) -> Result<Measures, PpmError> {
        match self.raster {
            Some(raster) if raster.pixels_left == 0 => Ok(raster.measures),
            _ => Err(PpmError::Short),
        }
    }
}

/// The header so far: `P6`, then three numbers with white space or comments between them.
#[derive(Debug, Default)]
struct Header {
    bytes: usize,
    in_comment: bool,
    number: Option<u32>,
    numbers: [u32; 3],
    found: usize,
}

impl Header {
    /// Takes one byte; gives the raster after the header's last.
    fn push(&mut self, byte: u8) -> Result<Option<Raster>, PpmError> {
        self.bytes += 1;
        match self.bytes {
            1 | 2 if byte == b"P6"[self.bytes - 1] => return Ok(None),
            1 | 2 => return Err(PpmError::NotP6),
            over if over > HEADER_BYTES_MAX => return Err(PpmError::HeaderTooLong),
            _ => {}
        }
        match byte {
            b'\n' | b'\r' => self.in_comment = false,
            _ if self.in_comment => return Ok(None),
            b'#' => {
                self.in_comment = true;
                return Ok(None);
            }
            b'0'..=b'9' if self.bytes > 3 => return self.digit(byte - b'0').map(|()| None),
            b' ' | b'\t' => {}
            _ => return Err(PpmError::Header),
        }
        self.space()
    }

    fn digit(&mut self, digit: u8) -> Result<(), PpmError> {
        let number = self.number.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(u32::from(digit)));
        self.number = Some(number.ok_or(PpmError::Header)?);
        Ok(())
    }

    /// White space ends a number; exactly one stands between the last one and the pixels.
    fn space(&mut self) -> Result<Option<Raster>, PpmError> {
        let Some(number) = self.number.take() else { return Ok(None) };
        self.numbers[self.found] = number;
        self.found += 1;
        if self.found == self.numbers.len() { Raster::new(self.numbers).map(Some) } else { Ok(None) }
    }
}

/// The pixels.
#[derive(Debug)]
struct Raster {
    greatest: u32,
    pixels_left: u64,
    /// The bytes of a pixel that came in two pieces.
    begun: Vec<u8>,
    measures: Measures,
}

impl Raster {
    fn new([width, height, greatest]: [u32; 3]) -> Result<Self, PpmError> {
        if width == 0 || height == 0 || !(1..=0xffff).contains(&greatest) {
            return Err(PpmError::Header);
        }
        let pixels_left = u64::from(width) * u64::from(height);
        if width.max(height) > SIDE_MAX || pixels_left > PIXELS_MAX {
            return Err(PpmError::TooLarge);
        }
        Ok(Self { greatest, pixels_left, begun: Vec::new(), measures: Measures::new(width, height) })
    }

    /// Values over 255 take two bytes each, the greater one first.
    fn pixel_len(&self) -> usize {
        if self.greatest > 0xff { 6 } else { 3 }
    }

    fn feed(&mut self, mut bytes: &[u8]) -> Result<(), PpmError> {
        let pixel_len = self.pixel_len();
        if !self.begun.is_empty() {
            let (end, rest) = bytes.split_at(bytes.len().min(pixel_len - self.begun.len()));
            self.begun.extend_from_slice(end);
            bytes = rest;
            if self.begun.len() < pixel_len {
                return Ok(());
            }
            let pixel = std::mem::take(&mut self.begun);
            self.pixel(&pixel)?;
        }
        let mut pixels = bytes.chunks_exact(pixel_len);
        pixels.try_for_each(|pixel| self.pixel(pixel))?;
        if self.pixels_left == 0 && !pixels.remainder().is_empty() {
            return Err(PpmError::Long);
        }
        self.begun.extend_from_slice(pixels.remainder());
        Ok(())
    }

    fn pixel(&mut self, bytes: &[u8]) -> Result<(), PpmError> {
        self.pixels_left = self.pixels_left.checked_sub(1).ok_or(PpmError::Long)?;
        let value = |nth: usize| match bytes.len() {
            3 => u32::from(bytes[nth]),
            _ => u32::from(bytes[2 * nth]) << 8 | u32::from(bytes[2 * nth + 1]),
        };
        let values = [value(0), value(1), value(2)];
        if values.iter().any(|value| *value > self.greatest) {
            return Err(PpmError::Value);
        }
        // At most 255, so nothing is lost.
        self.measures.add(values.map(|value| (value * 255 / self.greatest) as u8));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Drawing;

    fn read(file: &[u8]) -> Result<Measures, PpmError> {
        let mut decoder = Decoder::default();
        decoder.feed(file)?;
        decoder.finish()
    }

    #[track_caller]
    fn check(file: &[u8], error: PpmError) {
        assert_eq!(read(file).err(), Some(error), "{}", String::from_utf8_lossy(file));
    }

    // Seen to fail: when a pixel that came in two pieces is begun anew.
    #[test]
    fn the_pieces_in_which_a_picture_comes_make_no_difference() {
        let file = Drawing { width: 5, height: 4, above: [200, 10, 10], below: [10, 10, 200] }.to_ppm();
        let whole = read(&file).expect("a picture");
        for len in 1..file.len() {
            let mut decoder = Decoder::default();
            file.chunks(len).try_for_each(|piece| decoder.feed(piece)).expect("a picture");
            assert_eq!(decoder.finish().expect("all of it came"), whole, "in pieces of {len}");
        }
    }

    #[test]
    fn comments_and_two_byte_values_are_read() {
        let plain = read(b"P6\n2 1\n255\n\xff\x00\x00\xff\x00\x00").expect("a picture");
        assert_eq!(
            read(b"P6 # made by hand\n2\n1 # values\r255\n\xff\0\0\xff\0\0").expect("the same"),
            plain
        );
        assert_eq!(read(b"P6\n2 1\n65535\n\xff\xff\0\0\0\0\xff\xff\0\0\0\0").expect("the same"), plain);
    }

    #[test]
    fn what_is_no_picture_is_refused_with_its_reason() {
        check(b"GIF89a", PpmError::NotP6);
        check(b"P3\n1 1\n255\n", PpmError::NotP6);
        check(b"P6x1 1\n255\n", PpmError::Header);
        check(b"P61 1\n255\n", PpmError::Header);
        check(b"P6\n0 1\n255\n", PpmError::Header);
        check(b"P6\n1 1\n0\n", PpmError::Header);
        check(b"P6\n1 1\n65536\n", PpmError::Header);
        check(b"P6\n99999999999 1\n255\n", PpmError::Header);
        check(b"P6\n20000 1\n255\n", PpmError::TooLarge);
        check(b"P6\n16384 16384\n255\n", PpmError::TooLarge);
        check(b"P6\n1 1\n7\n\x08\0\0", PpmError::Value);
        check(b"P6\n1 1\n255\n\0\0", PpmError::Short);
        check(b"P6\n1 1", PpmError::Short);
        check(b"P6\n1 1\n255\n\0\0\0\0", PpmError::Long);
        check(b"P6\n1 1\n255\n\0\0\0\0\0\0", PpmError::Long);
    }

    #[test]
    fn a_header_without_an_end_is_given_up() {
        let mut endless = b"P6 #".to_vec();
        endless.resize(HEADER_BYTES_MAX, b'x');
        check(&endless, PpmError::Short);
        endless.push(b'x');
        check(&endless, PpmError::HeaderTooLong);
    }
}
