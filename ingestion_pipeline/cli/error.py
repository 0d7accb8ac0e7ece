"""The command `error`: prints what an error code means and what to do."""

import textwrap

import click

from ingestion_pipeline.core.manual import codes, manual_url

WIDTH = 100


@click.command()
@click.argument("code", required=False)
def error(code: str | None) -> None:
    """Print what an error CODE means and what to do; without CODE, list all codes."""
    known = codes()
    if code is None:
        width = max(map(len, known))
        for entry in known.values():
            click.echo(f"{entry.code:<{width}}  {_first_sentence(entry.what_happened)}")
        return
    if code not in known:
        raise click.BadParameter(
            f"There is no error code {code!r}{_similar(code, list(known))}. "
            "'poi-ingest error' lists all codes.",
            param_hint="CODE",
        )
    entry = known[code]
    click.echo(
        f"{entry.code}\n\nWhat happened:\n{_block(entry.what_happened)}\n\n"
        f"What to do:\n{_block(entry.what_to_do)}\n\n"
        f"The admin API serves the manual: {manual_url('errors')}"
    )


def _first_sentence(text: str) -> str:
    return textwrap.shorten(text.split(". ", maxsplit=1)[0].rstrip("."), 70, placeholder=" ...")


def _block(text: str) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent="  ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _similar(code: str, known: list[str]) -> str:
    from difflib import get_close_matches

    similar = get_close_matches(code, known, n=1)
    return f"; did you mean {similar[0]!r}?" if similar else ""
