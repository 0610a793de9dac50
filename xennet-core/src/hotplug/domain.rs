//! In which kind of domain a call is made.

use std::fs;
use std::io;
use std::path::Path;

/// Whether this is a driver domain: one with backends, whose guests' toolstack runs elsewhere. `xenfs` is where that file system
/// is, `/proc/xen`.
///
/// Where the kernel knows of Xen, its file `capabilities` says `control_d` in dom0 and nothing elsewhere. In dom0 it is always
/// there, since xl needs that file system; elsewhere nobody may have mounted it, and then its directory is empty. Without the
/// directory there is no Xen, and nobody waits.
///
/// Source: `drivers/xen/xenfs/super.c`, `capabilities_read`.
pub fn is_driver_domain(xenfs: &Path) -> bool {
    match fs::read(xenfs.join("capabilities")) {
        Ok(text) => !text.windows(CONTROL.len()).any(|part| part == CONTROL),
        Err(e) if e.kind() == io::ErrorKind::NotFound => xenfs.is_dir(),
        // What cannot be read says nothing.
        Err(_) => false,
    }
}

const CONTROL: &[u8] = b"control_d";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dom0_says_so_and_a_driver_domain_says_nothing() {
        let dir = std::env::temp_dir().join(format!("xennet-xenfs-{}", std::process::id()));
        assert!(!is_driver_domain(&dir), "no Xen");
        fs::create_dir_all(&dir).unwrap();
        assert!(is_driver_domain(&dir), "not mounted");
        for (text, expected) in [("control_d\n", false), ("", true), ("other\n", true)] {
            fs::write(dir.join("capabilities"), text).unwrap();
            assert_eq!(is_driver_domain(&dir), expected, "{text:?}");
        }
        fs::remove_dir_all(&dir).unwrap();
        assert!(!is_driver_domain(Path::new("/dev/null")));
    }
}
