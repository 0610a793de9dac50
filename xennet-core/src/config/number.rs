//! Numbers as C reads them.

/// What `strtoul(3)` makes of a text on a machine with 64-bit `long`.
pub(super) struct CNumber {
    /// The value; `u64::MAX` where it does not fit, negated modulo 2^64 after a minus.
    pub(super) value: u64,
    /// How many bytes were read; 0 if there is no number.
    pub(super) len: usize,
}

/// `strtoul(text, &end, base)` for base 10, 16, or 0 (which means octal after a leading 0 and hexadecimal after 0x).
pub(super) fn strtoul(text: &[u8], base: u32) -> CNumber {
    let blanks = text.iter().take_while(|b| matches!(b, b' ' | b'\t'..=b'\r')).count();
    let sign = usize::from(matches!(text.get(blanks), Some(b'+' | b'-')));
    let mut at = blanks + sign;
    let digit = |at: usize, base: u32| text.get(at).and_then(|b| char::from(*b).to_digit(base));
    let prefixed =
        digit(at, 10) == Some(0) && matches!(text.get(at + 1), Some(b'x' | b'X')) && digit(at + 2, 16).is_some();
    let base = match base {
        0 if prefixed => 16,
        0 if digit(at, 10) == Some(0) => 8,
        0 => 10,
        base => base,
    };
    if base == 16 && prefixed {
        at += 2;
    }
    let start = at;
    let mut value = Some(0u64);
    while let Some(d) = digit(at, base) {
        value = value.and_then(|v| v.checked_mul(u64::from(base))?.checked_add(u64::from(d)));
        at += 1;
    }
    if at == start {
        return CNumber { value: 0, len: 0 };
    }
    let value = match value {
        None => u64::MAX,
        Some(v) if sign == 1 && text[blanks] == b'-' => v.wrapping_neg(),
        Some(v) => v,
    };
    CNumber { value, len: at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_c() {
        for (text, base, value, len) in [
            ("", 10, 0, 0),
            ("x", 10, 0, 0),
            ("-", 10, 0, 0),
            (" \t12x", 10, 12, 4),
            ("+5", 10, 5, 2),
            ("-1", 10, u64::MAX, 2),
            ("0x10", 10, 0, 1),
            ("0x1fg", 16, 0x1f, 4),
            ("0x", 16, 0, 1),
            ("0xg", 0, 0, 1),
            ("017", 0, 15, 3),
            ("08", 0, 0, 1),
            ("0x1f", 0, 31, 4),
            ("18446744073709551616", 10, u64::MAX, 20),
            ("-18446744073709551616", 10, u64::MAX, 21),
            ("-ffffffff", 16, 0xffff_ffff_0000_0001, 9),
        ] {
            let n = strtoul(text.as_bytes(), base);
            assert_eq!((n.value, n.len), (value, len), "{text:?} base {base}");
        }
    }
}
