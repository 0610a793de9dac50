//! What tells this machine from others.

use std::fs;
use std::path::Path;

use crate::backend::BackendError;
use crate::error::Errno;

/// What systemd writes where the id is made at the first boot (`machine-id(5)`).
const NOT_YET: &[u8] = b"uninitialized";

/// The machine's id (`machine-id(5)`). Where there is none, as in an initial RAM disk, the kernel's id of this boot
/// (`random(4)`), which lasts until the next one.
pub(super) fn id(machine: &Path, boot: &Path) -> Result<Vec<u8>, BackendError> {
    let mut refused = None;
    for path in [machine, boot] {
        match fs::read(path) {
            Ok(id) if !id.trim_ascii().is_empty() && id.trim_ascii() != NOT_YET => return Ok(id),
            Ok(_) => {}
            Err(e) => refused = Some(Errno::from_io(&e)),
        }
    }
    let message = format!("neither {} nor {} has one", machine.display(), boot.display());
    Err(BackendError::new(refused.unwrap_or(Errno::ENODATA), "the machine's id").with_message(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_an_id_or_that_is_an_error() {
        let place = std::env::temp_dir().join(format!("xennet-machine-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        let (machine, boot) = (place.join("machine-id"), place.join("boot_id"));
        let e = id(&machine, &boot).unwrap_err();
        assert!(e.errno == Errno::ENOENT && e.to_string().contains("machine-id"), "{e}");
        fs::write(&boot, "b\n").unwrap();
        for (text, wanted) in [("", "b\n"), ("\n", "b\n"), ("uninitialized\n", "b\n"), ("m\n", "m\n")] {
            fs::write(&machine, text).unwrap();
            assert_eq!(id(&machine, &boot).unwrap(), wanted.as_bytes(), "{text:?}");
        }
        fs::remove_dir_all(&place).unwrap();
    }
}
