//! Policy rules (`net/core/fib_rules.c`).

use super::World;
use crate::error::Errno;
use crate::snapshot::{Part, Rule, RuleAction};
use crate::step::RuleStep;

pub(super) fn step(w: &mut World<'_>, step: &RuleStep) -> Result<(), Errno> {
    match step {
        RuleStep::Add(r) => add(w, r),
        RuleStep::Del(r) => del(w, r),
    }
}

/// `fib_nl_newrule`.
fn add(w: &mut World<'_>, rule: &Rule) -> Result<(), Errno> {
    readable(rule)?;
    // rule_exists: what is negated does not count, and what is not given fits anything.
    let exists = w.now.rules.iter().any(|r| {
        r.family == rule.family
            && r.priority == rule.priority
            && r.action == rule.action
            && r.protocol == rule.protocol
            && r.iif == rule.iif
            && r.oif == rule.oif
            && r.mark == rule.mark
            && rule.from.is_none_or(|from| r.from == Some(from))
            && rule.to.is_none_or(|to| r.to == Some(to))
    });
    if exists {
        return Err(Errno::EEXIST);
    }
    w.now.rules.insert(rule.clone());
    Ok(())
}

/// `fib_nl2rule`: there is no going back.
fn readable(rule: &Rule) -> Result<(), Errno> {
    match rule.action {
        RuleAction::Goto(target) if target <= rule.priority => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}

/// `fib_nl_delrule`: the first rule that fits; what is not given fits anything.
fn del(w: &mut World<'_>, rule: &Rule) -> Result<(), Errno> {
    readable(rule)?;
    let fits = |r: &&Rule| {
        r.family == rule.family
            && r.priority == rule.priority
            && r.action == rule.action
            && (rule.protocol == 0 || r.protocol == rule.protocol)
            && rule.iif.is_none_or(|iif| r.iif == Some(iif))
            && rule.oif.is_none_or(|oif| r.oif == Some(oif))
            && rule.mark.is_none_or(|mark| r.mark == Some(mark))
            && rule.from.is_none_or(|from| r.from == Some(from))
            && rule.to.is_none_or(|to| r.to == Some(to))
    };
    match w.now.rules.iter().find(fits).cloned() {
        Some(r) => {
            w.now.rules.remove(&r);
            Ok(())
        }
        None if w.knows(&Part::Rules) => Err(Errno::ENOENT),
        None => Ok(()),
    }
}
