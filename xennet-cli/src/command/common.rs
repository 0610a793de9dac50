//! What several commands share: the host that they work on, and how plans and tables are shown.

use xennet_core::backend::fake::Kept;
use xennet_core::exec::StateDir;
use xennet_core::plan::Plan;
use xennet_core::{Host, Result};

use crate::cli::{BackendName, Global};
use crate::output::Output;

/// Where journals, locks and records are kept.
pub(super) fn state_dir(global: &Global) -> StateDir {
    match &global.state_dir {
        Some(dir) if !global.sandbox => StateDir::at(dir),
        _ => StateDir::at(StateDir::DEFAULT),
    }
}

/// Opens what `--backend` names.
pub(super) fn open(global: &Global) -> Result<Host> {
    let dir = state_dir(global);
    match global.backend {
        BackendName::Netlink => Ok(Host::netlink()?.with_state_dir(dir)),
        BackendName::Fake => Ok(Host::with_backend(Box::new(Kept::at(dir.path())?)).with_state_dir(dir)),
    }
}

/// A plan, one line a step; its remarks beside it.
pub(super) fn show_plan(plan: &Plan, output: &mut Output) -> Result<()> {
    if !output.is_json() {
        for note in plan.notes() {
            output.note(note);
        }
    }
    output.answer(|| plan.to_string(), || plan)
}

/// Rows under headings, as wide as they need to be.
pub(super) fn columns<const N: usize>(headings: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(headings.map(str::to_owned)).chain(rows).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; N]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}
