//! `shakedown list`: what can be named on the command line.

use checker::Spec;

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
        What::Nemeses => nemesis::Kind::ALL
            .iter()
            .map(|kind| (kind.to_string(), format!("{} (needs: {})", kind.summary(), kind.needs())))
            .collect(),
    };
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, description) in rows {
        println!("{name:width$}  {description}");
    }
    Ok(exit::VALID)
}
