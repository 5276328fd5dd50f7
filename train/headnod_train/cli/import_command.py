"""`headnod-train import`: make a log-mel archive of a music collection."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from rich.console import Console

from headnod_train.cli.arguments import amount, whole
from headnod_train.cli.command_options import plain_console, say

_LAYOUTS = ("gtzan", "fma", "folders", "csv", "logmel")
_MOST_SECONDS, _MOST_JOBS = 3600.0, 1024


_EXAMPLES = """\
examples:
  headnod-train import ~/Music/by-genre --out mine.npz --valid 0.2
  headnod-train import ~/Music/by-genre --out mine.npz --rename Unknown=Various
  headnod-train import list.csv --out mine.npz
  headnod-train import one.npz other.npz --out both.npz --valid 0.15 --test 0.15
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser(
        "import",
        help="make a log-mel archive of a music collection",
        description="Make a log-mel archive of a music collection. What cannot be read is named and left out; "
        "an import that was stopped goes on where it was.",
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "sources", type=Path, nargs="+", metavar="SOURCE", help="folder of music, CSV, or log-mel archives to join"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="ARCHIVE", help="npz file to write")
    parser.add_argument("--layout", choices=_LAYOUTS, help="how the music lies there (guessed where it is plain)")
    parser.add_argument(
        "--seconds", type=_seconds, default=30.0, metavar="S", help="middle of each piece that is kept (default 30)"
    )
    parallel = parser.add_mutually_exclusive_group()
    parallel.add_argument("--jobs", type=_jobs, metavar="N", help="processes (all cores)")
    parallel.add_argument("--dask", metavar="tcp://HOST:PORT", help="hear the files on a Dask cluster instead")
    parser.add_argument("--valid", type=_share, metavar="SHARE", help="share of the valid side (0.15)")
    parser.add_argument("--test", type=_share, metavar="SHARE", help="share of the test side (0.15)")
    parser.add_argument("--seed", type=whole, default=1, help="of the split (default %(default)s)")
    parser.add_argument(
        "--rename",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="call a genre otherwise; the same new name joins two (repeatable)",
    )
    parser.add_argument(
        "--front-end",
        metavar="BUNDLE",
        help="make it for this model: genre, genre-small or the folder of a bundle (default: what 'fit' trains)",
    )
    parser.add_argument("--lists", type=Path, metavar="DIR", help="lists that say which track stands on which side")
    parser.add_argument(
        "--leaky",
        action="store_true",
        help="random split of 3 s segments, as many scripts do; every figure of it is too good, and labelled so",
    )
    parser.set_defaults(run=partial(_checked, parser), kept="extracted tracks are kept; the same command continues")


def _checked(parser: argparse.ArgumentParser, options: argparse.Namespace, console: Console) -> None:
    chosen = options.leaky or options.valid is not None or options.test is not None
    if options.lists is not None and chosen:
        parser.error("--lists says which side each track is on: not with --valid, --test or --leaky")
    if (options.valid or 0.0) + (options.test or 0.0) >= 1.0:
        parser.error("--valid and --test leave nothing to learn from")
    if options.out.suffix != ".npz":
        parser.error(f"--out: '{options.out}' does not end with .npz")
    run(options, console)


def run(options: argparse.Namespace, console: Console) -> None:
    """Import, and show a table."""
    import os  # noqa: PLC0415

    from headnod.features.frontend import FrontEnd  # noqa: PLC0415
    from headnod.inference.bundle_files import read_manifest  # noqa: PLC0415
    from headnod.resources import find_model  # noqa: PLC0415
    from headnod_train.dataset import dask_backend, parallel  # noqa: PLC0415
    from headnod_train.dataset.assemble import SplitShares  # noqa: PLC0415
    from headnod_train.dataset.importing import import_music, remarks, summary_table  # noqa: PLC0415

    front_end, given = FrontEnd(), (options.valid, options.test)
    if options.front_end is not None:
        front_end = read_manifest(find_model(options.front_end)).front_end
    shares = None
    if options.leaky or given != (None, None):
        valid, test = ((0.0 if share is None else share) if given != (None, None) else 0.15 for share in given)
        shares = SplitShares(valid, test, options.seed, options.leaky)
    if options.dask is not None:
        extract_all = partial(dask_backend.extract_all, address=options.dask)
    else:
        extract_all = partial(parallel.extract_all, jobs=options.jobs or len(os.sched_getaffinity(0)))
    archive, collection = import_music(
        options.sources,
        options.out,
        layout=options.layout,
        seconds=options.seconds,
        front_end=front_end,
        extract_all=extract_all,
        shares=shares,
        lists=options.lists,
        renames=options.rename,
        console=console,
    )
    for remark in remarks(archive, collection, front_end):
        console.print(remark, markup=False, highlight=False, soft_wrap=True)
    plain_console().print(summary_table(archive, collection, front_end))
    say(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")


def _seconds(text: str) -> float:
    return amount(text, 3.0, _MOST_SECONDS, "seconds")


def _share(text: str) -> float:
    return amount(text, 0.0, 0.9, "share")


def _jobs(text: str) -> int:
    return int(amount(text, 1, _MOST_JOBS, "processes"))
