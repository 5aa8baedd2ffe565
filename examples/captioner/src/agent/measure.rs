//! What is measured of a picture: its sides, its light, and how much of it each colour has.

/// A colour that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Without light.
    Black,
    /// Between black and white.
    Grey,
    /// With all light.
    White,
    /// Around 0° of the colour wheel.
    Red,
    /// Around 33°.
    Orange,
    /// Around 58°.
    Yellow,
    /// Around 118°.
    Green,
    /// Around 180°.
    Cyan,
    /// Around 230°.
    Blue,
    /// Around 285°.
    Purple,
    /// Around 325°.
    Pink,
}

impl Colour {
    const ALL: [Self; 11] = [
        Self::Black,
        Self::Grey,
        Self::White,
        Self::Red,
        Self::Orange,
        Self::Yellow,
        Self::Green,
        Self::Cyan,
        Self::Blue,
        Self::Purple,
        Self::Pink,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Black => "black",
            Self::Grey => "grey",
            Self::White => "white",
            Self::Red => "red",
            Self::Orange => "orange",
            Self::Yellow => "yellow",
            Self::Green => "green",
            Self::Cyan => "cyan",
            Self::Blue => "blue",
            Self::Purple => "purple",
            Self::Pink => "pink",
        }
    }

    /// The colour of a pixel.
    pub fn of([red, green, blue]: [u8; 3]) -> Self {
        let (red, green, blue) = (i32::from(red), i32::from(green), i32::from(blue));
        let greatest = red.max(green).max(blue);
        let chroma = greatest - red.min(green).min(blue);
        if greatest < 40 {
            return Self::Black;
        }
        if chroma * 5 < greatest {
            return if greatest > 200 { Self::White } else { Self::Grey };
        }
        let degrees = if greatest == red {
            (green - blue) * 60 / chroma
        } else if greatest == green {
            120 + (blue - red) * 60 / chroma
        } else {
            240 + (red - green) * 60 / chroma
        };
        match degrees.rem_euclid(360) {
            20..45 => Self::Orange,
            45..70 => Self::Yellow,
            70..165 => Self::Green,
            165..195 => Self::Cyan,
            195..265 => Self::Blue,
            265..310 => Self::Purple,
            310..340 => Self::Pink,
            _ => Self::Red,
        }
    }
}

/// The measures of one picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measures {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The light of all pixels added up, each from 0 to 255.
    light: u64,
    /// How many pixels have each colour, in the order of `Colour::ALL`.
    colours: [u64; Colour::ALL.len()],
}

impl Measures {
    /// Of a picture with these sides, before its first pixel.
    pub fn new(width: u32, height: u32) -> Self {
        Self { width, height, light: 0, colours: [0; Colour::ALL.len()] }
    }

    /// Adds a pixel.
    pub fn add(&mut self, pixel: [u8; 3]) {
        let [red, green, blue] = pixel.map(u64::from);
        // How bright eyes find the three (Rec. 601).
        self.light += (299 * red + 587 * green + 114 * blue) / 1000;
        self.colours[Colour::of(pixel) as usize] += 1;
    }

    /// The mean light, from 0 to 100.
    pub fn light_percent(&self) -> u64 {
        self.light * 100 / (255 * self.pixels())
    }

    /// The colour that most pixels have, and how many of a hundred have it.
    pub fn main_colour(&self) -> (Colour, u64) {
        let most = Colour::ALL.into_iter().rev().max_by_key(|colour| self.colours[*colour as usize]);
        let colour = most.unwrap_or(Colour::Black);
        (colour, self.colours[colour as usize] * 100 / self.pixels())
    }

    fn pixels(&self) -> u64 {
        (u64::from(self.width) * u64::from(self.height)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_have_the_names_that_people_give_them() {
        for (pixel, name) in [
            ([0, 0, 0], "black"),
            ([30, 0, 0], "black"),
            ([128, 128, 120], "grey"),
            ([250, 250, 240], "white"),
            ([220, 20, 20], "red"),
            ([220, 20, 40], "red"),
            ([255, 140, 0], "orange"),
            ([250, 240, 30], "yellow"),
            ([30, 160, 40], "green"),
            ([20, 210, 210], "cyan"),
            ([20, 40, 160], "blue"),
            ([120, 20, 180], "purple"),
            ([255, 100, 190], "pink"),
        ] {
            assert_eq!(Colour::of(pixel).as_str(), name, "{pixel:?}");
        }
    }

    #[test]
    fn light_and_colours_are_shares_of_all_pixels() {
        let mut measures = Measures::new(4, 1);
        measures.add([255, 255, 255]);
        (0..3).for_each(|_| measures.add([0, 0, 0]));
        assert_eq!(measures.light_percent(), 25);
        assert_eq!(measures.main_colour(), (Colour::Black, 75));
    }
}
