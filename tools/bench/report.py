#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Makes a table, JSON and a chart of what vfio-bench has measured.

`bench` calls this. Exit status: 0; 1 if there is nothing to report; 3 if with --check a limit of
goals.toml is exceeded, or nobody can tell.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tomllib

C, RUST = "vfio-pci", "vfio-pci-rust"

# In the order of the table.
OPERATIONS = {
    "floor": "unknown ioctl: the floor of any",
    "probe_token": "PROBE of the token",
    "set": "SET of another token",
    "set_same": "SET of the same token",
    "set_refused": "SET while a VF is open (C: 0, Rust: EBUSY)",
    "get": "GET of the token (EINVAL)",
    "probe_unknown": "PROBE of an unknown index (ENOTTY)",
    "probe_reserved": "PROBE of 0xffff (ENOTTY)",
    "probe_low_power_entry": "PROBE of low power entry",
    "probe_low_power_wakeup": "PROBE of low power entry with wakeup",
    "probe_low_power_exit": "PROBE of low power exit",
    "match_right": "VF: check of the right token, by group",
    "match_wrong": "VF: check of a wrong token, by group",
    "open_close": "VF: open and close, without reset",
    "open_close_reset": "VF: open and close, with reset",
    "probe": "VF: probe",
    "remove": "VF: remove",
    "sriov_on": "SR-IOV on, 7 VFs",
    "module_load": "load of the module",
    "text": "module: text, bytes",
    "data": "module: data, bytes",
    "bss": "module: bss, bytes",
    "device": "memory of a device, bytes",
    "build": "build of the module, CPU seconds",
}

# For an ioctl, the least of the rounds counts, as of the batches; for longer operations, the median.
SUMMARY = dict.fromkeys(
    ("open_close", "open_close_reset", "probe", "remove", "sriov_on", "module_load"),
    statistics.median,
)


def die(message):
    print(f"report.py: {message}", file=sys.stderr)
    sys.exit(1)


def measurements(name):
    """The output of vfio-bench, one dictionary per line."""
    with open(name, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.startswith("{")]


def read_measured(name):
    """The values of every operation and driver, one a round."""
    values = {}
    for m in measurements(name):
        values.setdefault(m["operation"], {}).setdefault(m["driver"], []).append(m["value"])
    return values


def scale_table(name):
    """A line for each number of VFs, two columns for each operation."""
    values = {}
    for m in measurements(name):
        value = m["value"] / (m["vfs"] if m["operation"] == "sriov_on" else 1)
        key = (m["vfs"], m["operation"], m["driver"])
        values.setdefault(key, []).append(value)
    operations = {
        "set": "SET",
        "match_right": "check",
        "probe": "probe",
        "sriov_on": "SR-IOV on, per VF",
    }
    lines = [("VFs", *(f"{title}: {who}" for title in operations.values() for who in ("C", "Rust")))]
    for vfs in sorted({key[0] for key in values}):
        numbers = (
            min(values[vfs, operation, driver]) for operation in operations for driver in (C, RUST)
        )
        lines.append((str(vfs), *(f"{number:,.0f}" for number in numbers)))
    return layout(lines)


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def device_size(disassembly):
    """The first argument of the module's one call of _vfio_alloc_device()."""
    before = disassembly[: disassembly.index("_vfio_alloc_device")]
    # On amd64, on arm64.
    size = r"(?:movl\s+\$(?=\w+, %edi)|mov\s+[wx]0, #)(\w+)"
    return int(re.findall(size, before)[-1], 0)


def read_module(name):
    text, data, bss = output_of("size", name).splitlines()[1].split()[:3]
    disassembly = output_of("llvm-objdump", "-dr", "--no-show-raw-insn", name)
    return {
        "text": int(text),
        "data": int(data),
        "bss": int(bss),
        "device": device_size(disassembly),
    }


def judge(row, goal, noise):
    """What a goal says of a figure. The rounds have to agree much better than the figure is off its limit."""
    limit = goal.get("limit", goal["goal"])
    margin = max(abs(limit + noise - row["ratio"]), noise)
    row["goal"] = goal["goal"]
    row["met"] = row["ratio"] <= goal["goal"] + noise
    row["limit"] = limit
    row["within_limit"] = row["ratio"] <= limit + noise
    row["certain"] = row["spread"] <= margin / 10


def make_rows(values, goals):
    rows = []
    for operation, title in OPERATIONS.items():
        both = values.get(operation, {})
        if C not in both or RUST not in both:
            continue
        c, rust = (SUMMARY.get(operation, min)(both[driver]) for driver in (C, RUST))
        row = {
            "operation": operation,
            "title": title,
            "c": c,
            "rust": rust,
            "rounds": {"c": both[C], "rust": both[RUST]},
            "ratio": rust / c,
            "spread": max((max(v) - min(v)) / max(min(v), 1) for v in both.values()),
        }
        goal = goals["operations"].get(operation)
        if goal:
            judge(row, goal, goals["noise"])
        rows.append(row)
    return rows


def problems(rows, goals):
    """What is not as it should be, a sentence each."""
    measured = {row["operation"]: row for row in rows}
    for operation in goals["operations"]:
        row = measured.get(operation)
        if not row:
            yield f"{operation} has a goal and was not measured"
        elif not row["certain"]:
            yield f"{row['title']}: the rounds are {row['spread']:.2%} apart, which is too uncertain to judge"
        elif not row["within_limit"]:
            yield f"{row['title']}: {row['ratio']:.3f} times C, above its limit {row['limit']:.2f}"


def cells(row):
    digits = 1 if row["operation"] == "build" else 0
    goal = ""
    if "goal" in row:
        verdict = "uncertain" if not row["certain"] else "met" if row["met"] else "missed"
        goal = f"{row['goal']:.2f} {verdict}"
    return (
        row["title"],
        f"{row['c']:,.{digits}f}",
        f"{row['rust']:,.{digits}f}",
        f"{row['ratio']:.3f}",
        f"{row['spread']:.2%}",
        goal,
    )


HEADINGS = ("operation", "C", "Rust", "Rust/C", "spread", "goal")


def layout(lines):
    """The lines as a table of reStructuredText; the first one is its head."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rule = "  ".join("=" * width for width in widths)
    out = [rule]
    for line in lines:
        first = line[0].ljust(widths[0])
        rest = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))
        out.append("  ".join((first, *rest)).rstrip())
        if line is lines[0]:
            out.append(rule)
    return "\n".join([*out, rule])


def write_rst(name, text, what):
    """Puts the table between the two marks of the document."""
    begin, end = f".. {what} of the last run\n", f".. end of the {what}\n"
    with open(name, encoding="utf-8") as file:
        before, _, rest = file.read().partition(begin)
    _, mark, after = rest.partition(end)
    if not mark:
        die(f"{name} has no line '{end.strip()}'")
    with open(name, "w", encoding="utf-8") as file:
        file.write(f"{before}{begin}\n{text}\n\n{mark}{after}")


def write_chart(name, rows, unit):
    try:
        import matplotlib
    except ImportError:
        print("report.py: no chart: python3-matplotlib is not installed", file=sys.stderr)
        return
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "vfio-bench"
    import matplotlib.pyplot as plt

    # The sizes of data would dwarf everything else: this driver has in bss what C has in data.
    rows = [row for row in reversed(rows) if row["operation"] not in ("data", "bss")]
    figure, axes = plt.subplots(figsize=(9, 0.32 * len(rows) + 1.2), layout="constrained")
    colors = ["tab:red" if not row.get("met", True) else "tab:blue" for row in rows]
    axes.barh(range(len(rows)), [row["ratio"] for row in rows], color=colors, height=0.6)
    for y, row in enumerate(rows):
        right = max(row["ratio"], row.get("goal", 0))
        axes.text(right, y, f"  {row['ratio']:.3f}", va="center", fontsize=8)
        if "goal" in row:
            axes.plot([row["goal"]] * 2, [y - 0.4, y + 0.4], color="black", linewidth=2)
    axes.margins(x=0.1, y=0.02)
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [row["title"] for row in rows], fontsize=8)
    axes.set_xlabel(f"vfio-pci-rust / vfio-pci ({unit}); black line: the goal; red: missed")
    figure.savefig(name, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("measured", help="the output of vfio-bench")
    parser.add_argument("--unit", default="instructions", help="the unit of the values")
    parser.add_argument("--goals", metavar="FILE", help="goals.toml; they are for instructions")
    parser.add_argument("--arch", help="the architecture, which may have limits of its own")
    parser.add_argument("--c-module", metavar="KO", help="vfio-pci.ko, for its size")
    parser.add_argument("--rust-module", metavar="KO", help="vfio-pci-rust.ko, built in the same way")
    parser.add_argument("--build", metavar="C,RUST", help="CPU seconds of both builds")
    parser.add_argument("--kernel", help="release of the kernel that ran, for JSON")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--chart", metavar="FILE", help="an SVG")
    parser.add_argument("--rst", metavar="FILE", help="document to put the table into")
    parser.add_argument("--mark", metavar="NAME", help="which table of the document")
    parser.add_argument("--scale", action="store_true", help="a table by numbers of VFs")
    parser.add_argument("--check", action="store_true", help="fail if a limit is exceeded")
    args = parser.parse_args()

    if args.scale:
        text = scale_table(args.measured)
        print(text)
        if args.rst:
            write_rst(args.rst, text, f"scale ({args.mark})")
        return
    values = read_measured(args.measured)
    if not values:
        die(f"{args.measured} has no measurements")
    for driver, module in ((C, args.c_module), (RUST, args.rust_module)):
        if module:
            for key, value in read_module(module).items():
                values.setdefault(key, {})[driver] = [value]
    if args.build:
        c, rust = map(float, args.build.split(","))
        values["build"] = {C: [c], RUST: [rust]}

    goals = {"operations": {}}
    if args.goals:
        with open(args.goals, "rb") as file:
            goals = tomllib.load(file)
        goals["operations"] |= goals.get(args.arch, {})
    rows = make_rows(values, goals)
    text = layout([HEADINGS, *map(cells, rows)])
    print(text)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            result = {"unit": args.unit, "kernel": args.kernel, "operations": rows}
            json.dump(result, file, indent=1)
            file.write("\n")
    if args.chart:
        write_chart(args.chart, rows, args.unit)
    if args.rst:
        write_rst(args.rst, text, f"table ({args.mark})")
    bad = list(problems(rows, goals))
    for problem in bad:
        print(f"report.py: {problem}", file=sys.stderr)
    if args.check and bad:
        sys.exit(3)


if __name__ == "__main__":
    main()
