//! A run directory in, files out: `report.html`, `junit.xml`, `metrics.json` and `plots/*.svg`.
//!
//! **Invariants.** The same run directory gives the same bytes, wherever and whenever it is rendered: there is no clock,
//! no random order and no absolute path in an output. `report.html` is one file that needs no script, no network and no
//! other file. Whatever the system under test wrote (values, errors, logs, names) is text in every output, never markup.
//! A drawing that fails, a log that cannot be read or a torn history is reported inside the report; it never
//! prevents one.
//!
//! The crate judges nothing: verdicts come from `verdict.json`. Start reading at [`render`], then `load` (what is read),
//! `page` (what is shown) and `plots`.

mod error;
mod expect;
mod faults;
mod junit;
mod lanes;
mod load;
mod logs;
mod metrics;
mod op;
mod page;
mod plots;
mod series;
mod summary;
mod svg;
mod text;

use std::fs;
use std::path::{Path, PathBuf};

use history::RunPaths;

pub use error::ReportError;
pub use summary::summary;

use crate::load::Run;
use crate::metrics::Metrics;
use crate::plots::Drawing;

/// What [`render`] wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rendered {
    /// The files, in the order in which they were written.
    pub files: Vec<PathBuf>,
    /// What could not be read, drawn or written, in words. The report says the same.
    pub problems: Vec<String>,
}

/// Renders a run directory. Needs `run.json` and `verdict.json`; whatever else is there makes the report richer.
///
/// # Errors
/// When `run.json` or `verdict.json` cannot be read, or a file other than a plot cannot be written.
pub fn render(dir: &RunPaths) -> Result<Rendered, ReportError> {
    let run = Run::load(dir)?;
    let metrics = Metrics::of(&run);
    let drawings = plots::draw_all(&run, &metrics);
    let mut rendered = Rendered { problems: run.problems.clone(), ..Rendered::default() };
    write(&mut rendered, dir.metrics(), &metrics.to_json().map_err(ReportError::Metrics)?)?;
    write_plots(dir, &drawings, &mut rendered);
    write(&mut rendered, dir.junit(), &junit::render(&run).map_err(ReportError::Junit)?)?;
    let html = page::render(dir, &run, &metrics, &drawings, &rendered.problems).map_err(ReportError::Html)?;
    write(&mut rendered, dir.report(), &html)?;
    Ok(rendered)
}

fn write(rendered: &mut Rendered, path: PathBuf, text: &str) -> Result<(), ReportError> {
    fs::write(&path, text).map_err(|source| ReportError::Write { path: path.clone(), source })?;
    rendered.files.push(path);
    Ok(())
}

/// Plots are inside the report too, so that failing to write one loses nothing.
fn write_plots(dir: &RunPaths, drawings: &[Drawing], rendered: &mut Rendered) {
    for drawing in drawings {
        let path = dir.plots().join(format!("{}.svg", drawing.name));
        let written = match (&drawing.svg, drawing.file()) {
            (Err(reason), _) => Err(format!("the plot {} could not be drawn: {reason}", drawing.name)),
            (Ok(_), Some(text)) => write_plot(&path, &text).map(|()| rendered.files.push(path)),
            (Ok(_), None) => Err(format!("the plot {} is not an SVG document", drawing.name)),
        };
        rendered.problems.extend(written.err());
    }
}

fn write_plot(path: &Path, text: &str) -> Result<(), String> {
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text));
    written.map_err(|error| {
        format!(
            "{} could not be written: {error}",
            path.file_name().map_or_else(String::new, |name| format!("plots/{}", name.display()))
        )
    })
}
