//! From measures to words.

use super::measure::Measures;

/// How a caption reads; its name is the label that a worker offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A handful of words.
    Short,
    /// With numbers.
    Long,
}

impl Style {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Short, Self::Long];

    /// The label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Long => "long",
        }
    }

    /// The style of a label.
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|style| style.label() == label)
    }

    /// The caption of a picture with these measures.
    pub fn caption(self, measures: &Measures) -> String {
        let (shape, light) = (shape(measures), light(measures));
        let (colour, share) = measures.main_colour();
        let colour = match share {
            100 => format!("all {}", colour.as_str()),
            50.. => format!("mostly {}", colour.as_str()),
            _ => "many-coloured".to_owned(),
        };
        match self {
            Self::Short if light.is_empty() => format!("a {shape}, {colour} picture"),
            Self::Short => format!("a {shape}, {light}, {colour} picture"),
            Self::Long => {
                let light = if light.is_empty() { "of medium light" } else { light };
                let (width, height, percent) = (measures.width, measures.height, measures.light_percent());
                format!(
                    "a {shape} picture of {width} by {height} pixels, {light} ({percent} %), {colour} ({share} %)"
                )
            }
        }
    }
}

fn shape(measures: &Measures) -> &'static str {
    let (width, height) = (u64::from(measures.width), u64::from(measures.height));
    if width * 5 >= height * 6 {
        "wide"
    } else if height * 5 >= width * 6 {
        "tall"
    } else {
        "square"
    }
}

/// Empty for what is neither dark nor bright.
fn light(measures: &Measures) -> &'static str {
    match measures.light_percent() {
        ..25 => "dark",
        70.. => "bright",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::ppm::Decoder;
    use crate::draw::Drawing;

    #[track_caller]
    fn check(drawing: Drawing, style: Style, caption: &str) {
        let mut decoder = Decoder::default();
        decoder.feed(&drawing.to_ppm()).expect("a picture");
        assert_eq!(style.caption(&decoder.finish().expect("all of it")), caption);
    }

    #[test]
    fn a_caption_says_what_was_measured() {
        let night = Drawing { width: 40, height: 20, above: [10, 10, 90], below: [10, 20, 80] };
        check(night, Style::Short, "a wide, dark, all blue picture");
        let snow = Drawing { width: 20, height: 40, above: [240, 240, 250], below: [250, 250, 250] };
        check(snow, Style::Short, "a tall, bright, all white picture");
        let meadow = Drawing { width: 9, height: 9, above: [60, 180, 60], below: [200, 60, 60] };
        check(meadow, Style::Short, "a square, mostly green picture");
        check(
            meadow,
            Style::Long,
            "a square picture of 9 by 9 pixels, of medium light (45 %), mostly green (55 %)",
        );
    }

    #[test]
    fn every_style_is_found_by_its_label() {
        for style in Style::ALL {
            assert_eq!(Style::from_label(style.label()), Some(style));
        }
        assert_eq!(Style::from_label("Short"), None);
    }
}
