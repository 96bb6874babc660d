//! A bar over bytes, where somebody can see it.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;

/// A bar on a terminal, and nothing anywhere else.
pub(crate) fn over_bytes(what: &'static str, output: &Output) -> ProgressBar {
    if !output.shows_progress() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    bar.set_draw_target(ProgressDrawTarget::stderr());
    if let Ok(style) =
        ProgressStyle::with_template("{prefix} [{bar:30}] {bytes}/{total_bytes}, {eta} left")
    {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.with_prefix(what)
}
