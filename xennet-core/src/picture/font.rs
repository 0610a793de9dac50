//! How wide text is, so that boxes are as wide as what stands in them.
//!
//! The widths are those of DejaVu Sans, which is among the widest of the usual sans-serif fonts: a text in another one needs less.

/// Advance widths of U+0020 to U+007E in thousandths of the font's size.
const PLAIN: [u16; 95] = [
    318, 401, 460, 838, 637, 951, 780, 275, 391, 391, 500, 838, 318, 361, 318, 337, 637, 637, 637, 637, 637, 637, 637,
    637, 637, 637, 337, 337, 838, 838, 838, 531, 1000, 685, 687, 699, 771, 632, 576, 775, 752, 295, 295, 656, 558, 863,
    749, 788, 604, 788, 695, 635, 611, 732, 685, 989, 686, 611, 686, 391, 337, 391, 838, 500, 500, 613, 635, 550, 635,
    616, 353, 635, 634, 278, 278, 580, 278, 975, 634, 612, 635, 635, 412, 521, 393, 634, 592, 818, 592, 592, 525, 637,
    337, 637, 838,
];

/// The same of the bold face.
const BOLD: [u16; 95] = [
    349, 457, 521, 838, 696, 1002, 873, 307, 458, 458, 523, 838, 380, 416, 380, 366, 696, 696, 696, 696, 696, 696, 696,
    696, 696, 696, 400, 400, 838, 838, 838, 581, 1000, 774, 763, 734, 831, 684, 684, 821, 837, 373, 373, 775, 638, 996,
    837, 851, 733, 851, 771, 721, 683, 813, 774, 1104, 771, 725, 726, 458, 366, 458, 838, 500, 500, 675, 716, 593, 716,
    679, 436, 716, 712, 343, 343, 666, 343, 1042, 712, 688, 716, 716, 494, 596, 479, 712, 652, 924, 646, 652, 583, 712,
    366, 712, 838,
];

/// The width of one character in thousandths of the size. What is not in the table is taken as wide as such characters can be.
fn advance(c: char, bold: bool) -> u32 {
    let table = if bold { &BOLD } else { &PLAIN };
    let in_table = u32::from(c).checked_sub(0x20).and_then(|at| table.get(at as usize));
    match (in_table, c) {
        (Some(width), _) => u32::from(*width),
        (None, '·') => 380,
        (None, '\u{a0}'..='\u{ff}') => 1000,
        // Ideographs and emoji are as wide as high, in fonts that have them a little more.
        (None, '\u{1100}'..) => 1100,
        (None, _) => 1000,
    }
}

/// The width of a text of this size in pixels, rounded up.
pub(super) fn width(text: &str, size: i32, bold: bool) -> i32 {
    let thousandths: u64 = text.chars().map(|c| u64::from(advance(c, bold))).sum();
    let pixels = thousandths.saturating_mul(u64::try_from(size).unwrap_or(0)).div_ceil(1000);
    i32::try_from(pixels).unwrap_or(i32::MAX)
}

/// The text, or as much of its beginning and end as has room.
pub(super) fn fitting(text: &str, size: i32, bold: bool, room: i32) -> String {
    let mut most = text.chars().count();
    let mut fit = text.to_owned();
    while most > 1 && width(&fit, size, bold) > room {
        most -= 1;
        fit = super::words::shortened(text, most);
    }
    fit
}
