//! The report for people.

use std::fmt::Write;

use super::report::{Bound, Figures, Goal, Report, Row, Times, median};

/// The goals, for the terminal.
pub(crate) fn summary(report: &Report) -> String {
    let mut text = String::new();
    for goal in &report.goals {
        let verdict = if goal.is_met { "met" } else { "MISSED" };
        writeln!(
            text,
            "{:<18} {:>8.3}  {:<14} {verdict:<6} ({})",
            goal.key,
            goal.figure,
            bound(goal),
            goal.what
        )
        .expect("invariant: a string takes everything");
    }
    text
}

/// The whole report as a page.
pub(crate) fn markdown(report: &Report) -> String {
    let mut page = String::new();
    put(&mut page, report).expect("invariant: a string takes everything");
    page
}

fn put(page: &mut String, report: &Report) -> std::fmt::Result {
    let Report { shakedown, etcd, selection, machine, nodes, keys, value_bytes, plan, .. } = report;
    writeln!(page, "# Our Raft server beside etcd\n")?;
    writeln!(
        page,
        "By `cargo xtask bench node` ({selection}), on {machine}. {shakedown} over HTTP/1.1, {etcd} over gRPC.\n"
    )?;
    writeln!(
        page,
        "{nodes} nodes each on the same disk, every write durable (`fdatasync`), {keys} keys with values of {value_bytes} bytes, all \
         requests to the leader. Medians of the rounds, {:.1} s for each load in each round. How to read and repeat it: \
         [README.md](README.md#measuring-the-raft-server). **What etcd does more for a put is in the project's README.**\n",
        plan.measure_ms as f64 / 1e3
    )?;
    if report.repeated > 0 {
        writeln!(
            page,
            "Loads measured again because a leader had changed meanwhile: {}.\n",
            report.repeated
        )?;
    }
    writeln!(page, "## Goals\n\n| | ours over etcd's, or ms of ours | goal | |\n|---|---|---|---|")?;
    for goal in &report.goals {
        let verdict = if goal.is_met { "met" } else { "**missed**" };
        writeln!(
            page,
            "| `{}`: {} | {:.3} | {} | {verdict} |",
            goal.key,
            goal.what,
            goal.figure,
            bound(goal)
        )?;
    }
    loads(page, &report.rows)?;
    writeln!(
        page,
        "\n## When nobody leads, ms\n\n| | | median | least – most | measured |\n|---|---|---|---|---|"
    )?;
    times(page, "from `kill -9` of the leader to the next acknowledged write", &report.outages_ms)?;
    times(page, "from the start of the nodes to the first acknowledged write", &report.first_writes_ms)
}

fn loads(page: &mut String, rows: &[Row]) -> std::fmt::Result {
    writeln!(page, "\n## Loads\n")?;
    writeln!(
        page,
        "**CPU** is the processor time of all nodes for one operation. The generator's own stands beside it, because it takes \
         from the same cores; *others* is what everything else on the machine took meanwhile, in percent of a core.\n"
    )?;
    writeln!(
        page,
        "| operation | clients | | per second | p50 µs | p99 µs | **CPU µs** | generator µs | others % |"
    )?;
    writeln!(page, "|---|---|---|---|---|---|---|---|---|")?;
    for row in rows {
        let operation = format!("{:?}", row.operation).to_lowercase();
        let clients = row.clients;
        writeln!(page, "| {operation} | {clients} | shakedown | {} |", cells(&row.shakedown.median))?;
        writeln!(page, "| | | etcd | {} |", cells(&row.etcd.median))?;
        writeln!(page, "| | | *ratio* | {} |", ratios(&row.shakedown.median, &row.etcd.median))?;
    }
    Ok(())
}

fn cells(figures: &Figures) -> String {
    format!(
        "{:.0} | {:.0} | {:.0} | {:.1} | {:.1} | {:.0}",
        figures.per_second,
        figures.p50_us,
        figures.p99_us,
        figures.cpu_us,
        figures.generator_cpu_us,
        figures.others_cpu_percent
    )
}

fn ratios(ours: &Figures, theirs: &Figures) -> String {
    format!(
        "*{:.2}* | *{:.2}* | *{:.2}* | *{:.2}* | *{:.2}* | ",
        ours.per_second / theirs.per_second,
        ours.p50_us / theirs.p50_us,
        ours.p99_us / theirs.p99_us,
        ours.cpu_us / theirs.cpu_us,
        ours.generator_cpu_us / theirs.generator_cpu_us,
    )
}

fn times(page: &mut String, what: &str, times: &Times) -> std::fmt::Result {
    for (name, times) in [("shakedown", &times.shakedown), ("etcd", &times.etcd)] {
        let (least, most) = (times.first().unwrap_or(&f64::NAN), times.last().unwrap_or(&f64::NAN));
        let middle = median(times.iter().copied());
        writeln!(page, "| {what} | {name} | {middle:.0} | {least:.0} – {most:.0} | {} times |", times.len())?;
    }
    Ok(())
}

fn bound(goal: &Goal) -> String {
    match goal.bound {
        Bound::AtLeast(bound) => format!("at least {bound:.3}"),
        Bound::AtMost(bound) => format!("at most {bound:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    #[test]
    fn page_has_every_load_of_both_and_their_ratio() {
        let page = markdown(&report());
        assert!(page.contains("| put | 256 | shakedown | 40000 | 100 | 25000 | 20.0 | 6.2 | 50 |"), "{page}");
        assert!(page.contains("| | | etcd | 10000 | 100 | 100000 | 80.0 | 25.0 | 50 |"), "{page}");
        assert!(page.contains("| *4.00* | *1.00* | *0.25* | *0.25* | *0.25* |"), "{page}");
        assert_eq!(page.matches("*ratio*").count(), 8);
        assert!(page.contains("| shakedown | 200 | 5 – 205 | 3 times |"), "{page}");
    }

    #[test]
    fn missed_goal_stands_out() {
        let (page, summary) = (markdown(&report()), summary(&report()));
        assert!(page.contains(
            "| `first_write_ms`: ms from start to the first write | 410.000 | at most 400.000 | **missed** |"
        ));
        assert_eq!((summary.matches("MISSED").count(), summary.matches(" met ").count()), (2, 5));
    }
}
