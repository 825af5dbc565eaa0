//! The plots, as SVG.

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::super::plan::Peer;
use super::results::{PeerResults, Results, Sample, WorkloadResults};
use super::stats::Spread;
use super::table::{bytes, duration};

/// The files and their titles.
pub const NAMES: [(&str, &str); 3] = [
    (
        "ratios.svg",
        "CPU time of the server for an operation, in times of tokio's",
    ),
    (
        "latency.svg",
        "Duration of an operation: median, p99 and p99.9",
    ),
    (
        "memory.svg",
        "Resident memory for an idle connection and a server socket",
    ),
];

const WIDTH: u32 = 1000;
const FONT: &str = "sans-serif";
/// Height of a line of the plots.
const LINE: i32 = 15;
const TITLE: i32 = 36;
const LEGEND: i32 = 24;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// All plots that have figures, by file name.
///
/// # Errors
/// None known: they are drawn into memory.
pub fn all(results: &Results) -> Result<Vec<(&'static str, String)>, Error> {
    let [ratios_name, latency_name, memory_name] = NAMES;
    let times = groups(results, |found, of_peer| {
        let spread = match of_peer.peer {
            Peer::Tokio => None,
            peer => found.ratio(peer, Peer::Tokio, Sample::cost),
        };
        spread.map(|spread| {
            let Spread {
                least,
                lower,
                median,
                upper,
                greatest,
            } = spread;
            Marks {
                thin: (least, greatest),
                thick: (lower, upper),
                point: median,
                text: format!("{median:.2}"),
            }
        })
    });
    let latencies = groups(results, |_, of_peer| {
        let median = |number: fn(&Sample) -> f64| Some(of_peer.spread(number)?.median);
        let (p50, p99) = (
            median(|round| round.p50 as f64)?,
            median(|round| round.p99 as f64)?,
        );
        let p999 = median(|round| round.p999 as f64)?;
        Some(Marks {
            thin: (p50, p999),
            thick: (p50, p99),
            point: p50,
            text: format!("{} · {} · {}", duration(p50), duration(p99), duration(p999)),
        })
    });
    let memory = groups(results, |_, of_peer| {
        let Spread {
            least,
            median,
            greatest,
            ..
        } = of_peer.memory()?;
        // The axis is logarithmic, so values that are lost in noise cannot be drawn.
        let least = least.max(1.0);
        if median < 1.0 {
            return None;
        }
        Some(Marks {
            thin: (least, greatest),
            thick: (least, greatest),
            point: median,
            text: bytes(median),
        })
    });
    let mut plots = Vec::new();
    for ((name, title), groups, one) in [
        (ratios_name, times, Some(1.0)),
        (latency_name, latencies, None),
        (memory_name, memory, None),
    ] {
        if !groups.is_empty() {
            let show: fn(f64) -> String = match name {
                "ratios.svg" => |number| format!("{number:.2}"),
                "latency.svg" => duration,
                _ => bytes,
            };
            plots.push((name, plot(title, &groups, one, show)?));
        }
    }
    Ok(plots)
}

/// What is drawn of one server.
struct Marks {
    /// Ends of a thin line.
    thin: (f64, f64),
    /// Ends of a thick line.
    thick: (f64, f64),
    point: f64,
    text: String,
}

/// The lines of one workload.
struct Group {
    name: &'static str,
    lines: Vec<(Peer, Marks)>,
}

fn groups(
    results: &Results,
    marks: impl Fn(&WorkloadResults, &PeerResults) -> Option<Marks>,
) -> Vec<Group> {
    let group = |found: &WorkloadResults| {
        let lines = found.peers.iter();
        let lines = lines.filter_map(|of_peer| Some((of_peer.peer, marks(found, of_peer)?)));
        Some(Group {
            name: found.workload()?.name,
            lines: lines.collect(),
        })
    };
    let groups = results.workloads.iter().filter_map(group);
    groups.filter(|group| !group.lines.is_empty()).collect()
}

/// A line for each server in each workload, on one logarithmic axis.
fn plot(
    title: &str,
    groups: &[Group],
    reference: Option<f64>,
    show: fn(f64) -> String,
) -> Result<String, Error> {
    let lines: usize = groups.iter().map(|group| group.lines.len() + 1).sum();
    let height = TITLE + LEGEND + lines as i32 * LINE + 40;
    let mut svg = String::new();
    {
        let backend = SVGBackend::with_string(&mut svg, (WIDTH, height.unsigned_abs()));
        let area = backend.into_drawing_area();
        area.fill(&WHITE)?;
        area.draw(&Text::new(title.to_owned(), (10, 10), (FONT, 18)))?;
        legend(&area, groups)?;
        lines_of(&area, groups, reference, show, lines)?;
        area.present()?;
    }
    Ok(svg)
}

fn legend(area: &Area<'_>, groups: &[Group]) -> Result<(), Error> {
    let drawn = |peer: &Peer| {
        groups
            .iter()
            .any(|group| group.lines.iter().any(|(it, _)| it == peer))
    };
    let (mut x, y) = (14, TITLE + 6);
    for peer in Peer::ALL.into_iter().filter(drawn) {
        area.draw(&Circle::new((x, y), 4, colour(peer).filled()))?;
        area.draw(&Text::new(peer.name(), (x + 10, y - 6), (FONT, 12)))?;
        // Wide enough for the widest letters of the font.
        x += 30 + 7 * peer.name().len() as i32;
    }
    Ok(())
}

fn lines_of(
    area: &Area<'_>,
    groups: &[Group],
    reference: Option<f64>,
    show: fn(f64) -> String,
    lines: usize,
) -> Result<(), Error> {
    let marks = || {
        groups
            .iter()
            .flat_map(|group| group.lines.iter().map(|(_, marks)| marks))
    };
    let ends = marks().flat_map(|marks| [marks.thin.0, marks.thin.1, marks.point]);
    let ends = ends.chain(reference).filter(|end| *end > 0.0);
    let (least, greatest) = ends.fold((f64::MAX, f64::MIN_POSITIVE), |(least, greatest), end| {
        (least.min(end), greatest.max(end))
    });
    let (_, inside) = area.split_vertically(TITLE + LEGEND);
    let mut chart = ChartBuilder::on(&inside)
        .margin_left(10)
        // The text to the right of a line.
        .margin_right(170)
        .set_label_area_size(LabelAreaPosition::Left, 230)
        .set_label_area_size(LabelAreaPosition::Bottom, 30)
        .build_cartesian_2d((least / 1.1..greatest * 1.1).log_scale(), 0.0..lines as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_labels(12)
        .x_label_formatter(&|number| show(*number))
        .label_style((FONT, 11))
        .light_line_style(WHITE)
        .draw()?;
    if let Some(reference) = reference {
        let line = vec![(reference, 0.0), (reference, lines as f64)];
        chart
            .plotting_area()
            .draw(&PathElement::new(line, BLACK.mix(0.6)))?;
    }
    let mut y = lines as f64;
    for group in groups {
        y -= 1.0;
        let at = chart.plotting_area().map_coordinate(&(least, y + 0.3));
        let style = (FONT, 13)
            .into_font()
            .color(&BLACK)
            .pos(Pos::new(HPos::Right, VPos::Center));
        area.draw(&Text::new(group.name, (228, at.1), style))?;
        for (peer, marks) in &group.lines {
            y -= 1.0;
            mark(&chart, area, *peer, marks, y + 0.5)?;
        }
    }
    Ok(())
}

type Chart<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::combinators::LogCoord<f64>, RangedCoordf64>,
>;

fn mark(
    chart: &Chart<'_, '_>,
    area: &Area<'_>,
    peer: Peer,
    marks: &Marks,
    y: f64,
) -> Result<(), Error> {
    let colour = colour(peer);
    let plotting = chart.plotting_area();
    let line = |(from, to): (f64, f64), width| {
        PathElement::new(vec![(from, y), (to, y)], colour.stroke_width(width))
    };
    plotting.draw(&line(marks.thin, 1))?;
    plotting.draw(&line(marks.thick, 4))?;
    plotting.draw(&Circle::new((marks.point, y), 4, colour.filled()))?;
    let at = plotting.map_coordinate(&(marks.thin.1.max(marks.point), y));
    let style = (FONT, 11)
        .into_font()
        .color(&colour)
        .pos(Pos::new(HPos::Left, VPos::Center));
    area.draw(&Text::new(marks.text.clone(), (at.0 + 8, at.1), style))?;
    Ok(())
}

/// Distinguishable with colour blindness (Okabe and Ito).
fn colour(peer: Peer) -> RGBColor {
    match peer {
        Peer::ChromeSockets => RGBColor(213, 94, 0),
        Peer::ChromeSockets2 => RGBColor(230, 159, 0),
        Peer::ChromeSocketsBatches => RGBColor(204, 121, 167),
        Peer::Tokio => RGBColor(0, 0, 0),
        Peer::ActixServer => RGBColor(0, 114, 178),
        Peer::ActixActors => RGBColor(86, 180, 233),
        Peer::Node => RGBColor(0, 158, 115),
        Peer::Epoll => RGBColor(120, 120, 120),
    }
}
