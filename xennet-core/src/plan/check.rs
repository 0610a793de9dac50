//! Checks of a finished plan by other code than what made it.

use super::Planned;
use crate::error::{Error, ErrorKind};
use crate::snapshot::Route;
use crate::step::{Implied, RouteStep, Step};

/// Refuses a plan one of whose steps takes a default route of the main table away, itself or by consequence.
///
/// No wish that this library plans needs that, so a plan that does it would cut this domain off by mistake.
///
/// # Errors
/// [`ErrorKind::WouldCutOff`], naming step and route.
pub(super) fn never_cut_off(steps: &[Planned]) -> Result<(), Error> {
    for (at, planned) in steps.iter().enumerate() {
        let asked = match &planned.step {
            Step::Route(RouteStep::Del(route)) => Some(route),
            _ => None,
        };
        let implied = planned.effects.implied.iter().filter_map(|i| match i {
            Implied::RouteGoes(route) => Some(route),
            _ => None,
        });
        if let Some(route) = asked.into_iter().chain(implied).find(|r| is_default(r)) {
            return Err(Error::new(
                ErrorKind::WouldCutOff,
                format!("a step would cost this domain its route \"{route}\": {}", planned.step),
            )
            .with_object(planned.step.object())
            .with_step(format!("step {} of {}", at + 1, steps.len()))
            .with_state("unchanged, nothing was applied")
            .with_hint(match route.link {
                Some(link) => format!("move the default route off {link} first"),
                None => "keep the default route".to_owned(),
            }));
        }
    }
    Ok(())
}

fn is_default(route: &Route) -> bool {
    route.table == Route::MAIN && route.destination.prefix() == 0
}
