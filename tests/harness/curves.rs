//! The curves of `docs/PERFORMANCE.md`, drawn from its tables, so that no figure stands in two places.

use std::path::{Path, PathBuf};

use plotters::prelude::*;

/// Pixels across and down.
const SIZE: (u32, u32) = (720, 360);

/// One colour for each line.
const COLOURS: [RGBColor; 5] = [
    RGBColor(0x0b, 0x5f, 0x66),
    RGBColor(0xb4, 0x53, 0x09),
    RGBColor(0x7c, 0x3a, 0xed),
    RGBColor(0x15, 0x80, 0x3d),
    RGBColor(0x6b, 0x72, 0x80),
];

/// The document that holds the tables.
pub fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/PERFORMANCE.md")
}

/// Where the curves are kept.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance")
}

/// One picture.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Its file.
    pub file: &'static str,
    title: &'static str,
    across: &'static str,
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    name: String,
    /// Across, and µs.
    points: Vec<(f64, f64)>,
}

/// All of the document's.
pub fn all(document: &str) -> Vec<Curve> {
    vec![ingest(document), fan_out(document)]
}

/// The cells of the rows of the table whose heading begins like this.
fn rows<'d>(document: &'d str, heading: &str) -> Vec<Vec<&'d str>> {
    let table = document.lines().skip_while(|line| !line.starts_with(heading)).skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    rows.map(cells).collect()
}

/// The cells of a row of a table.
pub fn cells(row: &str) -> Vec<&str> {
    row.trim_matches('|').split('|').map(str::trim).collect()
}

fn number(cell: &str) -> f64 {
    cell.replace(',', "").parse().unwrap_or_else(|_| panic!("{cell} is no number"))
}

/// Time of an op by the length of the log.
fn ingest(document: &str) -> Curve {
    let rows = rows(document, "| entries per op | authors |");
    let of = |shape: [&str; 4], column: usize| {
        let rows = rows.iter().filter(|row| row[..4] == shape);
        rows.map(|row| (number(row[4]), 1e6 / number(row[column]))).collect()
    };
    let busy = ["1", "8", "8", "in order"];
    let line = |name: &str, points| Line { name: name.to_owned(), points };
    Curve {
        file: "ingest.svg",
        title: "µs to admit an op, by the ops in the log",
        across: "ops",
        lines: vec![
            line("1 entry per op", of(busy, 7)),
            line("the same in reverse", of(["1", "8", "8", "reversed"], 7)),
            line("1,000 heads at a time", of(["1", "1000", "1000", "in order"], 7)),
            line("100 entries per op", of(["100", "8", "8", "in order"], 7)),
            line("verify_strict alone", of(busy, 6)),
        ],
    }
}

/// Processor time of a delivery by the members of a room, each at the highest rate that was measured.
fn fan_out(document: &str) -> Curve {
    let all = rows(document, "| members | ops/s |");
    let line = |name: &str, column: usize| Line {
        name: name.to_owned(),
        points: all.iter().map(|row| (number(row[0]), number(row[column]))).collect(),
    };
    Curve {
        file: "fan-out.svg",
        title: "µs of processor time for a delivery; 10 and 100 members 1,000 ops/s, 1,000 members 100",
        across: "members",
        lines: vec![line("relayer", 2), line("bare axum", 4), line("bare tungstenite", 3)],
    }
}

impl Curve {
    /// As a picture.
    ///
    /// # Panics
    /// A line has no points.
    pub fn svg(&self) -> String {
        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        self.draw(&area).expect("it is drawn");
        drop(area);
        svg.push('\n');
        svg
    }

    fn draw(
        &self,
        area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    ) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'_> as DrawingBackend>::ErrorType>> {
        assert!(self.lines.len() <= COLOURS.len(), "every line has a colour");
        area.fill(&WHITE)?;
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let across = |pick: fn(f64, f64) -> f64| points().map(|(x, _)| *x).reduce(pick).unwrap();
        let highest = points().map(|(_, y)| *y).reduce(f64::max).unwrap();
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, ("sans-serif", 16))
            .margin(16)
            .margin_right(40)
            .x_label_area_size(36)
            .y_label_area_size(44)
            .build_cartesian_2d(
                (across(f64::min)..across(f64::max)).log_scale(),
                0.0..highest * 1.15,
            )?;
        chart
            .configure_mesh()
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("{y:.0}"))
            .x_desc(self.across)
            .y_desc("µs")
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (line, colour) in self.lines.iter().zip(COLOURS) {
            let mut points = line.points.clone();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(3))?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE)
            .border_style(BLACK.mix(0.2))
            .draw()?;
        area.present()
    }
}
