"""What drives energy, as sentences and tables; and energy against the length of input and output."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence

from energyaware import __version__
from energyaware.baselines.codec import to_json
from energyaware.ranking.score import detail
from energyaware.records import Benchmark
from energyaware.reports.columns import escaped, plain
from energyaware.reports.drivers import Analysis, Pair, Section, batch_size, input_tokens, output_tokens
from energyaware.reports.tables import MARKDOWN, TERMINAL, fitted, wrapped
from energyaware.stats.regression import Entanglement, Fit, Term
from energyaware.units import ABSENT, fixed, percent, si

_EVIDENCE = {
    "launches": "across launches: valid for new launches of the same code",
    "tasks": "across tasks of one launch: says nothing about another launch",
    "rounds": "over rounds within one launch: says nothing about another launch, where memory lies elsewhere",
}


# What goes first when the terminal is narrow.
_TERMS_DROP_ORDER = ("alone", "rank ρ", "share")
_PAIRS_DROP_ORDER = ("evidence", "group", "95 %")
_LENGTH_DROP_ORDER = ("tokens/s", "energy/token", "quality", "latency")


def analysis_text(found: Sequence[Analysis], *, all_pairs: bool = False, width: int | None = None) -> str:
    """Everything for a terminal.

    Args:
        all_pairs: show every pair of variants, not only neighbours in the order of energy.
        width: sentences are broken there, and tables leave out columns until they fit; None: neither.
    """
    blocks = []
    for index, analysis in enumerate(found):
        blocks.append(_broken(_heading(analysis, found), width))
        blocks += [_section(section, width) for section in analysis.sections]
        if analysis.apart is not None:
            blocks.append(
                _broken(
                    f"Fitted apart, the kinds of work explain {percent(analysis.apart)} of the variance more: "
                    "that is how far one set of effects for all of them misses.",
                    width,
                )
            )
        blocks.append(_pairs(analysis, all_pairs, width))
        if index == 0 and analysis.left_out:
            listed = ", ".join(f"{count} × {why}" for why, count in analysis.left_out.items())
            blocks.append(_broken(f"Left out: {listed}.", width))
    return "\n\n".join(block for block in blocks if block)


def _broken(text: str, width: int | None) -> str:
    """Lines of sentences, each broken at `width`."""
    if width is None:
        return text
    return "\n".join(part for line in text.split("\n") for part in wrapped(line, width))


def _table(titles: Sequence[str], body: Sequence[Sequence[str]], droppable: Sequence[str], width: int | None) -> str:
    columns = {title: [title, *(line[place] for line in body)] for place, title in enumerate(titles)}
    return fitted(columns, droppable, width, TERMINAL)


def analysis_json(found: Sequence[Analysis]) -> str:
    """The same for programs; effects are natural logs of ratios."""
    return json.dumps({"version": __version__, "analyses": [to_json(analysis) for analysis in found]}, indent=2)


def _heading(analysis: Analysis, everything: Sequence[Analysis]) -> str:
    runs = ", ".join(map(plain, analysis.runs))
    conditions = analysis.conditions
    measured = f"{plain(conditions['source'])} by {plain(conditions['meter'])}"
    rows, in_runs = _count(analysis.rows, "row"), _count(len(analysis.runs), "run")
    lines = [f"Energy per request of {rows} in {in_runs} ({runs}), {measured}"]
    if len(everything) > 1:
        differing = [
            name
            for name, value in conditions.items()
            if any(other.conditions.get(name) != value for other in everything)
        ]
        lines.append(
            "Not measured as the other rows, so analysed apart: "
            + "; ".join(f"{plain(name)} {plain(conditions[name]) or ABSENT}" for name in differing)
        )
    return "\n".join(lines)


def _section(section: Section, width: int | None) -> str:
    title = plain(section.kind)
    if section.fit is None:
        return _broken(f"{title}: not fitted, {section.problem}.", width)
    fit = section.fit
    explained, missed = percent(fit.r2), percent(math.expm1(fit.residual_sd))
    size = f"{title}: {_count(fit.rows, 'row')}, {fit.unknowns} unknowns."
    lines = [f"{size} All drivers explain {explained} of the variance of log energy; a row lies {missed} off (1 s.d.)."]
    lines += [f"  {line}" for line in (*_effects(fit), *section.notes, *_not_estimable(section, fit))]
    text = _broken("\n".join(lines), width)
    return f"{text}\n\n{_terms_table(section, fit, width)}" if fit.terms else text


def _effects(fit: Fit) -> list[str]:
    lines = []
    unclear: list[str] = []
    alone: dict[str, list[str]] = {}
    for term in fit.terms:
        if term.low is None or term.high is None:
            alone.setdefault(term.reason, []).append(f"{plain(term.name)} ({_times(term.estimate)})")
        elif term.low <= 0 <= term.high:
            unclear.append(plain(term.name))
        else:
            lines.append(
                f"With {plain(term.name)} a request costs {_times(term.estimate)} {_interval(term)} the energy."
            )
    if unclear:
        lines.append(f"No clear effect (the interval holds 1): {', '.join(unclear)}.")
    lines += [f"Without an interval, as it {plain(why)}: {', '.join(names)}." for why, names in alone.items()]
    return lines


def _not_estimable(section: Section, fit: Fit) -> list[str]:
    reasons = {**fit.constant, **section.unknown}
    lines = []
    if reasons:
        listed = "; ".join(f"{plain(name)} ({plain(why)})" for name, why in reasons.items())
        lines.append(f"Not estimable: {listed}.")
    lines += [f"{_entangled(item)} cannot be told apart from {_partners(item)}." for item in fit.aliased]
    lines += [
        f"{_entangled(item)} moves with {_partners(item)} (R² {item.r2:.2f}): their effects are hard to part."
        for item in fit.close
    ]
    return lines


def _entangled(item: Entanglement) -> str:
    return plain(item.driver) if item.column.startswith("twice") else f"{plain(item.driver)} ({plain(item.column)})"


def _partners(item: Entanglement) -> str:
    return " and ".join(map(plain, item.partners)) or "the others"


def _terms_table(section: Section, fit: Fit, width: int | None) -> str:
    shares = {share.driver: share for share in fit.shares}
    lines, shown = [], set()
    order = sorted(fit.shares, key=lambda share: -(share.average if share.average is not None else share.alone))
    for driver in (share.driver for share in order):
        for term in (term for term in fit.terms if term.driver == driver):
            first = driver not in shown
            shown.add(driver)
            lines.append(
                [
                    plain(driver) if first else "",
                    plain(term.name),
                    _times(term.estimate),
                    _interval(term) if term.low is not None else ABSENT,
                    percent(shares[driver].average) if first else "",
                    percent(shares[driver].alone) if first else "",
                    fixed(section.ranks.get(driver), 2) if first else "",
                ]
            )
    titles = ["driver", "with", "energy", "95 %", "share", "alone", "rank ρ"]
    return _table(titles, lines, _TERMS_DROP_ORDER, width)


def _times(log_ratio: float) -> str:
    return f"{math.exp(log_ratio):.3g} ×"


def _interval(term: Term) -> str:
    if term.low is None or term.high is None:
        return ABSENT
    return f"[{_bound(term.low)}, {_bound(term.high)}]"


def _bound(log_ratio: float) -> str:
    # Too few degrees of freedom give intervals that no float can hold.
    return "∞" if log_ratio > 300 else f"{math.exp(log_ratio):.3g}"


# --- pairs ---------------------------------------------------------------------------------------------------------


def _pairs(analysis: Analysis, everything: bool, width: int | None) -> str:
    if not analysis.pairs:
        return ""
    clear = sum(pair.differs is True for pair in analysis.pairs)
    tested = sum(pair.differs is not None for pair in analysis.pairs)
    test = "Holm over all of them, 5 %; the intervals are 95 % for each pair alone"
    lines = [f"Variants: {clear} of {_count(tested, 'tested pair')} differ ({test})."]
    lines += [f"  Evidence {kind} is {text}." for kind, text in _EVIDENCE.items() if _has(analysis.pairs, kind)]
    shown = analysis.pairs if everything else [pair for pair in analysis.pairs if _neighbours(analysis, pair)]
    if not everything and len(shown) < len(analysis.pairs):
        lines.append("  Neighbours in the order of energy; --all-pairs shows every pair.")
    body = [
        [
            plain(pair.group) or ABSENT,
            plain(pair.first),
            plain(pair.second),
            _times(pair.difference.estimate),
            _pair_interval(pair),
            f"{pair.count} {pair.evidence}",
            _verdict(pair),
        ]
        for pair in shown
    ]
    titles = ["group", "variant", "against", "energy", "95 %", "evidence", "differs"]
    text = _broken("\n".join(lines), width)
    return f"{text}\n\n{_table(titles, body, _PAIRS_DROP_ORDER, width)}"


def _verdict(pair: Pair) -> str:
    if pair.differs is None:
        return ABSENT
    scope = "" if pair.evidence == "launches" else " in this launch"
    return ("yes" if pair.differs else "not shown") + scope


def _has(pairs: Iterable[Pair], kind: str) -> bool:
    return any(pair.evidence == kind for pair in pairs)


def _neighbours(analysis: Analysis, pair: Pair) -> bool:
    order = analysis.order[pair.group]
    return abs(order.index(pair.first) - order.index(pair.second)) == 1


def _pair_interval(pair: Pair) -> str:
    low, high = pair.difference.low, pair.difference.high
    return ABSENT if low is None or high is None else f"[{_bound(low)}, {_bound(high)}]"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


# --- lengths -------------------------------------------------------------------------------------------------------

_LENGTH_TITLES = (
    "variant",
    "batch",
    "tokens in",
    "tokens out",
    "energy/request",
    "energy/token",
    "latency",
    "tokens/s",
    "quality",
)


def length_tables(benchmarks: Sequence[Benchmark], style: str = TERMINAL, width: int | None = None) -> str:
    """Energy, latency, throughput and quality against length, one table for each group that holds several lengths.

    Raw joules, as in the ranking; energy per token counts the tokens of the row's own phase.

    Args:
        style: `TERMINAL` or `MARKDOWN` of `energyaware.reports.tables`.
        width: columns are left out until a table fits; None: never.

    Returns:
        empty where no group holds several lengths.
    """
    groups: dict[str, list[Benchmark]] = {}
    for item in benchmarks:
        if item.rounds and item.outcome == "passed" and input_tokens(item) is not None:
            groups.setdefault(item.group, []).append(item)
    blocks = []
    for group, items in groups.items():
        if len({(input_tokens(item), output_tokens(item)) for item in items}) < 2:
            continue
        items.sort(
            key=lambda item: (item.row, *(read(item) or 0.0 for read in (batch_size, input_tokens, output_tokens)))
        )
        title = f"{(escaped if style == MARKDOWN else plain)(group) or 'work'} against length"
        body = [[plain(item.row), *_length_cells(item)] for item in items]
        if all(line[-1] == ABSENT for line in body):
            body = [line[:-1] for line in body]
        titles = _LENGTH_TITLES[: len(body[0])]
        columns = {name: [name, *(line[place] for line in body)] for place, name in enumerate(titles)}
        blocks.append(f"{title}\n\n{fitted(columns, _LENGTH_DROP_ORDER, width, style)}")
    return "\n\n".join(blocks)


def _length_cells(item: Benchmark) -> list[str]:
    found = detail(item)
    tokens = (item.work.tokens_in or 0) + (item.work.tokens_out or 0)
    rate = tokens / found.latency_s if tokens and found.latency_s else None
    counts = [read(item) for read in (batch_size, input_tokens, output_tokens)]
    return [
        *(ABSENT if count is None else f"{round(count, 1):g}" for count in counts),
        si(found.energy_j, "J"),
        si(found.energy_per_token_j, "J"),
        si(found.latency_s, "s"),
        si(rate, "/s"),
        fixed(found.quality),
    ]
