//! `shakedown list`: what can be named on the command line.

use checker::{Claim, Spec};
use nemesis::Kind;
use nemesis::scenario::SHIPPED;

use crate::exit;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to list
    what: What,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum What {
    Targets,
    Workloads,
    Nemeses,
    Models,
    Claims,
}

pub(super) fn main(args: &Args) -> anyhow::Result<u8> {
    let rows: Vec<(String, String)> = match args.what {
        What::Targets => targets::all().iter().map(|t| (t.name().into(), t.description().into())).collect(),
        What::Workloads => {
            workloads::all().iter().map(|w| (w.name().into(), w.description().into())).collect()
        }
        What::Models => {
            Spec::ALL.iter().map(|spec| (spec.to_string(), spec.functions().to_owned())).collect()
        }
        What::Claims => Claim::ALL
            .iter()
            .map(|claim| (claim.to_string(), format!("{} ({})", claim.promise(), models(*claim))))
            .collect(),
        What::Nemeses => Kind::ALL
            .iter()
            .map(|kind| (kind.usage().to_owned(), format!("{} (needs: {})", kind.summary(), kind.needs())))
            .chain(SHIPPED.iter().map(|s| (format!("{}:{}", Kind::Scenario, s.name), s.summary().to_owned())))
            .collect(),
    };
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, description) in rows {
        println!("{name:width$}  {description}");
    }
    Ok(exit::VALID)
}

/// The models that a claim can be made of.
fn models(claim: Claim) -> String {
    let names: Vec<&str> =
        Spec::ALL.into_iter().filter(|spec| claim.supports(*spec)).map(Spec::name).collect();
    if names.len() == Spec::ALL.len() { "every model".to_owned() } else { names.join(", ") }
}
