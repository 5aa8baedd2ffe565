//! Pictures made of one colour or two, for the demo and for tests.

/// The colours of a picture's upper and lower half, red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drawing {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The colour of the upper half.
    pub above: [u8; 3],
    /// The colour of the lower half.
    pub below: [u8; 3],
}

impl Drawing {
    /// A picture in one colour.
    pub fn plain(width: u32, height: u32, colour: [u8; 3]) -> Self {
        Self { width, height, above: colour, below: colour }
    }

    /// The picture as a file of Netpbm's P6.
    pub fn to_ppm(self) -> Vec<u8> {
        let mut file = format!("P6\n{} {}\n255\n", self.width, self.height).into_bytes();
        for row in 0..self.height {
            let colour = if row < self.height.div_ceil(2) { self.above } else { self.below };
            for _ in 0..self.width {
                file.extend_from_slice(&colour);
            }
        }
        file
    }
}
