"""Exported C is a library: any prefix, C and C++, one copy of a net, a state each, no warnings, whatever things are called."""

import re
import subprocess
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from levsha.emit.c import Style, emit_c
from levsha.errors import LevshaError
from levsha.interpret import interpret
from levsha.ir import Graph, Value
from levsha.meaning import Meaning, Quantity
from levsha.net import Net
from levsha.ops import Add
from tests.library import (
    COMPILERS,
    FORMAT_NAMES,
    ODD,
    SANITIZERS,
    bare_net,
    build,
    chat_net,
    export,
    need_tool,
    numbers,
    run,
    sensor_net,
)
from tests.test_exact import EXAMPLES, inputs_of

every_compiler = pytest.mark.parametrize("compiler", COMPILERS)
gcc_and_gxx = pytest.mark.parametrize("compiler", ["gcc-c99", "g++-c++17"])
MODES = {"pair": {}, "single": {"single": True}, "static": {"instance": True}}


def self_tests(prefixes: list[str], before: str = "", instance: bool = False) -> str:
    """A program that runs the self-test of every prefix and says which failed."""
    calls = []
    for p in prefixes:
        own, state = ("", "") if instance else (f"static {p}_state s; ", "&s")
        calls.append(f'    {{ {own}if ({p}_self_test({state})) {{ printf("{p} failed\\n"); return 1; }} }}')
    return "#include <stdio.h>\n" + before + "int main(void)\n{\n" + "\n".join(calls) + "\n    return 0;\n}\n"


def defines(prefixes: list[str], *names: str) -> list[str]:
    return [f"-D{p.upper()}_{name}" for p in prefixes for name in names]


@every_compiler
def test_every_op_and_format_in_one_unit(compiler: str, tmp_path: Path) -> None:
    """Each op's examples and a chat of each format, each under a prefix of its own, all in one unit, with sanitizers."""
    nets = {f"op{k}": bare_net(example.values[0]) for k, example in enumerate(EXAMPLES)}  # type: ignore[arg-type]
    nets |= {f"chat_{weights}": chat_net(weights) for weights in FORMAT_NAMES}
    before = ""
    for prefix, net in nets.items():
        export(net, tmp_path, prefix, single=True)
        before += f'#define {prefix.upper()}_IMPLEMENTATION\n#include "{prefix}.h"\n'
    (tmp_path / "main.c").write_text(self_tests(list(nets), before))
    flags = defines(list(nets), "SELF_TEST", "FLOAT")
    assert run(build(tmp_path, ["main.c"], compiler, *SANITIZERS, *flags)) == ""


@pytest.mark.parametrize("mode", MODES)
@every_compiler
def test_a_sensor_with_odd_names_is_clean_and_says_what_its_numbers_mean(
    compiler: str, mode: str, tmp_path: Path
) -> None:
    export(sensor_net(), tmp_path, "odd", **MODES[mode])
    before = ("#define ODD_IMPLEMENTATION\n" if mode == "single" else "") + '#include "odd.h"\n#include "odd.h"\n'
    show = """
        static void show(const char *const *texts, int count) { for (int i = 0; i < count; ++i) printf("%s\\n", texts[i]); }
        static void say(void)
        {
            static const char *const names[] = ODD_READINGS_NAMES, *const units[] = ODD_READINGS_UNITS, *const classes[] = ODD_CLASS_CLASSES;
            static const double steps[] = ODD_READINGS_STEPS, zeros[] = ODD_READINGS_ZEROS;
            static const int lows[] = ODD_READINGS_LOWS, highs[] = ODD_READINGS_HIGHS;
            show(names, ODD_READINGS_SIZE); show(units, ODD_READINGS_SIZE); show(classes, ODD_CLASS_HIGHS_ + 1);
            for (int i = 0; i < ODD_READINGS_SIZE; ++i) printf("%g %g %d %d\\n", steps[i], zeros[i], lows[i], highs[i]);
        }
    """.replace("ODD_CLASS_HIGHS_", "1")
    text = self_tests(["odd"], before + dedent(show), instance=mode == "static").replace("main(void)\n{", "main(void)\n{\n    say();")  # fmt: skip
    (tmp_path / "main.c").write_text(text)
    files = ["main.c"] if mode == "single" else ["main.c", "odd.c"]
    said = run(build(tmp_path, files, compiler, *SANITIZERS, "-DODD_SELF_TEST", "-DODD_FLOAT")).splitlines()
    assert said == [
        "Übergröße ??) \\", '*/ int door; /* "door"', "line break   ???/", "°C", "", "m/s²", 'no "\\', "??/ */ jä",
        "0.01 20 -500 1023", "1 0 0 1", "0.5 0 7 300",
    ]  # fmt: skip


DRIVER = """
    #include "power.h"
    void take(power_state *state, int16_t sun, int16_t door, int16_t wind);
    void take(power_state *state, int16_t sun, int16_t door, int16_t wind)
    {
        state->readings[0] = sun; state->readings[1] = door; state->readings[2] = wind;
    }
"""
MAIN = """
    #include <stdio.h>
    #include "power.h"
    #include "crop.h"
    void take(power_state *state, int16_t sun, int16_t door, int16_t wind);
    int main(void)
    {
        static power_state here, there;
        static crop_state crop;
        take(&there, 800, 1, 250);
        here.readings[0] = 800; here.readings[1] = 1; here.readings[2] = 250;
        crop.readings[0] = 800; crop.readings[1] = 1; crop.readings[2] = 250;
        power_run(&there); crop_run(&crop); power_run(&here);
        printf("%d %d %d\\n", power_answer(&there)[0], power_answer(&here)[0], crop_answer(&crop)[0]);
        return 0;
    }
"""


@gcc_and_gxx
def test_two_nets_in_several_units_are_one_copy_each(compiler: str, tmp_path: Path) -> None:
    power, crop = sensor_net(1), sensor_net(2)
    export(power, tmp_path, "power")
    export(crop, tmp_path, "crop")
    (tmp_path / "driver.c").write_text(dedent(DRIVER))
    (tmp_path / "main.c").write_text(dedent(MAIN))
    program = build(tmp_path, ["main.c", "driver.c", "power.c", "crop.c"], compiler, *SANITIZERS)
    x = {"readings": np.array([[800, 1, 250]])}
    want = [int(interpret(net.graph, x)["answer"][0, 0]) for net in (power, crop)]
    assert numbers(run(program)).tolist() == [[want[0], want[0], want[1]]] and want[0] != want[1]
    plain = build(tmp_path, ["main.c", "driver.c", "power.c", "crop.c"], compiler, "-O0", "-DPOWER_FLOAT")
    symbols = subprocess.run(["nm", plain], capture_output=True, text=True, check=True).stdout
    assert symbols.count("power_fc1_weight") == symbols.count("crop_fc1_weight") == 1


@gcc_and_gxx
def test_two_units_share_the_static_instance(compiler: str, tmp_path: Path) -> None:
    """Readings that one unit puts in, another computes with: there is one state, not one a unit."""
    net = sensor_net(1)
    for mode in ("static", "single"):
        folder = tmp_path / mode
        export(net, folder, "power", instance=True, single=mode == "single")
        put = "power_instance.readings[0] = 800; power_instance.readings[2] = 250;"
        (folder / "driver.c").write_text(
            f'#include "power.h"\nvoid take(void);\nvoid take(void)\n{{\n    {put}\n    power_run_readings();\n}}\n'
        )
        once = "#define POWER_IMPLEMENTATION\n" if mode == "single" else ""
        main = 'void take(void);\nint main(void)\n{\n    take();\n    printf("%d\\n", power_answer()[0]);\n    return 0;\n}\n'
        (folder / "main.c").write_text(
            f'#include <stdio.h>\n#include "power.h"\n{once}#include "power.h"\n#include "power.h"\n{main}'
        )
        units = ["main.c", "driver.c", *([] if mode == "single" else ["power.c"])]
        want = interpret(net.graph, {"readings": np.array([[800, 0, 250]])})["answer"][0, 0]
        assert numbers(run(build(folder, units, compiler, *SANITIZERS))).tolist() == [[want]]


@pytest.mark.parametrize("net", [sensor_net(), chat_net("ternary")], ids=["sensor", "chat"])
@pytest.mark.parametrize("mode", MODES)
def test_no_name_at_file_scope_is_without_the_prefix(net: Net, mode: str, tmp_path: Path) -> None:
    need_tool("gcc")
    export(net, tmp_path, "mine", **MODES[mode])
    file, flags = "mine.c", ["-DMINE_SELF_TEST", "-DMINE_FLOAT", "-DMINE_IMPLEMENTATION", "-std=c99"]
    if mode == "single":
        (tmp_path / file).write_text('#include "mine.h"\n')
    keep = ["-O0", "-fkeep-inline-functions", "-fkeep-static-functions", "-fkeep-static-consts"]
    subprocess.run(["gcc", *flags, *keep, "-c", file, "-o", "mine.o"], cwd=tmp_path, check=True)
    listed = subprocess.run(["nm", "mine.o"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    names = {line.split()[-1] for line in listed.splitlines()} - {"_GLOBAL_OFFSET_TABLE_"}
    assert {"mine_run", "mine_self_test", "mine_U8"} - names == {"mine_U8"}
    assert all(name.startswith("mine_") for name in names if "." not in name), names  # with a dot: inside a function
    shared = subprocess.run(
        ["nm", "-g", "--defined-only", "mine.o"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    api = {"mine_run", "mine_self_test", *(f"mine_run_{name}" for name in net.graph.inputs)}
    assert {line.split()[-1] for line in shared.stdout.splitlines()} == api | (
        {"mine_instance"} if mode == "static" else set()
    )
    assert names and not any(name.startswith(("mem", "str", "__")) for name in names), "no library is called"
    text = subprocess.run(["gcc", *flags, "-E", "-P", file], cwd=tmp_path, capture_output=True, text=True, check=True)
    types = re.findall(r"\b(?:struct|enum|union)\s+(\w+)|typedef\b[^;{]*?(\w+)\s*;|}\s*(\w+)\s*;", text.stdout)
    own = {name for found in types for name in found if name and not re.match(r"_|u?int\w*_t$", name)}
    assert all(name.startswith("mine_") or name == "arena" for name in own), own
    assert macros(tmp_path, file, flags) - macros(tmp_path, "/dev/null", [*flags, "-include", "stdint.h"]) == {
        name for name in macros(tmp_path, file, flags) if name.startswith(("MINE_", "mine_"))
    } - {"MINE_SELF_TEST", "MINE_FLOAT", "MINE_IMPLEMENTATION"}


def macros(folder: Path, file: str, flags: list[str]) -> set[str]:
    done = subprocess.run(
        ["gcc", *flags, "-dM", "-E", "-x", "c", file], cwd=folder, capture_output=True, text=True, check=True
    )
    return {line.split()[1].split("(")[0] for line in done.stdout.splitlines()}


@gcc_and_gxx
def test_two_states_interleaved_answer_as_two_apart(compiler: str, tmp_path: Path) -> None:
    net = chat_net("int4")
    export(net, tmp_path, "chat")
    inputs = inputs_of(net.graph, 6, seed=3)
    rows = [np.concatenate([inputs["query"][k], inputs["context"][k]]) for k in range(6)]
    main = """
        #include <stdio.h>
        #include "chat.h"
        static chat_state state[2];
        static int take(chat_state *s)
        {
            return fread(s->query, sizeof s->query, 1, stdin) == 1 && fread(s->context, sizeof s->context, 1, stdin) == 1;
        }
        int main(void)
        {
            while (take(&state[0]) && take(&state[1])) {
                chat_run_query(&state[0]); chat_run_query(&state[1]);
                chat_run_context(&state[1]); chat_run_context(&state[0]);
                for (int k = 0; k < 2; ++k) {
                    for (int i = 0; i < CHAT_LOGITS_SIZE; ++i) printf("%d ", chat_logits(&state[k])[i]);
                    printf("%d\\n", chat_next(&state[k])[0]);
                }
            }
            return 0;
        }
    """
    (tmp_path / "main.c").write_text(dedent(main))
    said = numbers(
        run(build(tmp_path, ["main.c", "chat.c"], compiler, *SANITIZERS), np.stack(rows).astype(np.uint8).tobytes())
    )
    want = interpret(net.graph, inputs)
    np.testing.assert_array_equal(said, np.concatenate([want["logits"], want["next"]], 1))


@every_compiler
def test_optimised_code_computes_what_plain_code_does(compiler: str, tmp_path: Path) -> None:
    """The arena's bytes are int16 here and int8 there: a compiler that trusts types must not reorder the accesses."""
    for name, net in {"sensor": sensor_net(), "chat": chat_net("int8"), "wide": bare_net(WIDE)}.items():
        folder = tmp_path / name
        text = export(net, folder, "net", vectors=100)[1].read_text()
        places = set(re.findall(r"\((?:const )?(\w+) \*\)\(void \*\)\(state->arena", text))
        assert places and places <= {"uint8_t", "int8_t", "net_i16", "net_i32"} and "(__may_alias__)" in text
        (folder / "main.c").write_text(self_tests(["net"], '#include "net.h"\n'))
        for flags in (("-O0",), ("-O3", "-fstrict-aliasing", "-flto", "-Wstrict-aliasing=1")):
            assert run(build(folder, ["main.c", "net.c"], compiler, *flags, "-DNET_SELF_TEST")) == ""


WIDE = Graph(
    {"a": Value((9,), -(1 << 29), 1 << 29), "b": Value((9,), -99, 99)},
    (Add(name="y", inputs=("a", "b")), Add(name="z", inputs=("y", "b")), Add(name="w", inputs=("z", "y"))),
    ("w", "y"),
)


@pytest.mark.parametrize("real", ["float", "double"])
@gcc_and_gxx
def test_float_helpers_do_what_numpy_does(compiler: str, real: str, tmp_path: Path) -> None:
    net, kind = sensor_net(), {"float": np.float32, "double": np.float64}[real]
    export(net, tmp_path, "net")
    main = """
        #include <stdio.h>
        #include "net.h"
        int main(void)
        {
            NET_REAL real[3];
            while (fread(real, sizeof real, 1, stdin) == 1) {
                int16_t from[3];
                for (int i = 0; i < 3; ++i) { from[i] = net_readings_from(i, real[i]); printf("%d ", from[i]); }
                for (int i = 0; i < 2; ++i) printf("%.17g ", (double)net_answer_real(i, (int16_t)(from[0] * 2 + i)));
                printf("\\n");
            }
            return 0;
        }
    """
    (tmp_path / "main.c").write_text(dedent(main))
    program = build(tmp_path, ["main.c", "net.c"], compiler, *SANITIZERS, "-DNET_FLOAT", f"-DNET_REAL={real}")
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform((10, -2, -10), (35, 3, 200), (500, 3)), halves(), 1e30 * rng.normal(size=(9, 3))])
    x = np.concatenate([x, [[np.nan, np.nan, np.nan], [np.inf, -np.inf, np.inf]]]).astype(kind)
    said = np.array([line.split() for line in run(program, x.tobytes()).splitlines()], float)
    zero, step = (array.astype(kind) for array in ODD_SCALES)
    value = net.graph.inputs["readings"]
    steps = np.nan_to_num((x - zero) / step, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    integers = np.rint(steps.astype(np.float64).clip(value.lows, value.highs))
    np.testing.assert_array_equal(said[:, :3], integers)
    if real == "double":  # as levsha ask does
        whole = np.isfinite(x).all(1)
        clipped = net.meaning.to_integers("readings", x[whole].clip(-1e6, 1e6)).clip(value.lows, value.highs)
        np.testing.assert_array_equal(said[whole, :3], clipped)
    zero, step = (array.astype(kind) for array in net.meaning.zeros_and_steps("answer"))
    want = zero + step * (integers[:, :1] * 2 + np.arange(2)).astype(kind)
    np.testing.assert_array_equal(said[:, 3:], want.astype(np.float64))


ODD_SCALES = ODD.zeros_and_steps("readings")


def halves() -> np.ndarray:
    """Real numbers half-way between two integers."""
    return np.stack([20 + 0.01 * (np.arange(40) + 0.5), np.full(40, 0.5), 0.5 * (np.arange(40) + 10.5)], 1)


@gcc_and_gxx
def test_helpers_know_every_element_and_use_double_where_a_float_is_too_coarse(compiler: str, tmp_path: Path) -> None:
    size = 100  # more than the comment lists
    value = Value((size,), -1000, 1000)
    graph = Graph({"a": value, "b": value}, (Add(name="y", inputs=("a", "b")),))
    when = tuple(Quantity(f"t{k}", "s", 0.125, 1.7e9 + k) for k in range(size))
    export(Net(graph, Meaning("", {"a": when}), bare_net(graph).application, "late"), tmp_path, "late")
    main = f"""
        #include <stdio.h>
        #include "late.h"
        int main(void)
        {{
            static const double zeros[] = LATE_A_ZEROS;
            for (int i = 0; i < {size}; ++i) printf("%d\\n", late_a_from(i, zeros[i] + 0.125 * i));
            return 0;
        }}
    """
    (tmp_path / "main.c").write_text(dedent(main))
    program = build(tmp_path, ["main.c", "late.c"], compiler, *SANITIZERS, "-DLATE_FLOAT")
    assert numbers(run(program)).ravel().tolist() == list(range(size))
    assert "#define LATE_REAL double" in (tmp_path / "late.h").read_text()


@pytest.mark.parametrize("net", [sensor_net(), chat_net()], ids=["sensor", "chat"])
@pytest.mark.parametrize("mode", MODES)
def test_every_function_is_documented(net: Net, mode: str, tmp_path: Path) -> None:
    header = export(net, tmp_path, "net", **MODES[mode])[0].read_text()
    lines = header.partition("#ifndef NET_H")[2].partition("#if defined(NET_IMPLEMENTATION)")[0].splitlines()
    heads = [k for k, line in enumerate(lines) if re.match(r"(static inline|extern|void|int)\b.*net_", line)]
    assert len(heads) == len(net.graph.inputs) + len(net.graph.outputs) + 2 + (mode == "static") + len(
        net.meaning.quantities
    )
    for k in heads:
        assert re.fullmatch(r"/\* .{20,} \*/", lines[k - 1]), lines[k]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["sensor", "numbers", "chat", "several inputs"])
@gcc_and_gxx
def test_the_example_in_the_comment_runs(compiler: str, kind: str, mode: str, tmp_path: Path) -> None:
    plain = Meaning("", {"readings": ODD.quantities["readings"]})
    net = {
        "sensor": sensor_net(), "numbers": sensor_net(3, plain), "chat": chat_net(), "several inputs": bare_net(WIDE),
    }[kind]  # fmt: skip
    header = export(net, tmp_path, "mine", **MODES[mode])[0].read_text()
    comment = header.partition("*/")[0].partition("Example:\n")[2]
    (tmp_path / "main.c").write_text(dedent(comment).rstrip() + "\n")
    files = ["main.c"] if mode == "single" else ["main.c", "mine.c"]
    said = run(build(tmp_path, files, compiler, *SANITIZERS))
    if kind == "chat":
        assert said == net.application.expected(net.graph, "hello") + "\n"
        return
    inputs = {n: np.broadcast_to(np.clip(0, v.lows, v.highs), (1, *v.shape)) for n, v in net.graph.inputs.items()}
    y = interpret(net.graph, inputs)[net.graph.outputs[0]][0]
    want = ['no "\\', "??/ */ jä"][y[0]] if kind == "sensor" else "\n".join(map(str, y))
    assert said == want + "\n"


@pytest.mark.parametrize("net", [sensor_net(), chat_net("binary"), chat_net("int8")], ids=["sensor", "binary", "int8"])
def test_the_self_test_notices_one_wrong_byte(net: Net, tmp_path: Path) -> None:
    source = export(net, tmp_path, "net", vectors=8)[1]
    sound = source.read_text()
    (tmp_path / "main.c").write_text(self_tests(["net"], '#include "net.h"\n'))
    first = next(op.name for op in net.graph.ops if type(op).__name__ == "Dense" and "context" not in op.name)
    head = re.search(rf"net_{first}_weight\[\d+\] net_FLASH = {{\n", sound)
    assert head
    found = re.compile(r"\d+").search(sound, head.end())
    assert found
    source.write_text(f"{sound[: found.start()]}{int(found.group()) ^ 0x55}{sound[found.end() :]}")
    program = build(tmp_path, ["main.c", "net.c"], "gcc-c99", "-DNET_SELF_TEST")
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "net failed\n")


@pytest.mark.parametrize(
    "prefix", ["", "a-b", "9a", "_net", "net_", "a__b", "int", "class", "naïve", "x" * 42, "a b", "$"]
)
def test_a_prefix_that_is_no_identifier_is_refused(prefix: str) -> None:
    with pytest.raises(LevshaError, match=r"--prefix: is .*; give a C identifier of at most 41 letters"):
        Style(prefix=prefix)


@pytest.mark.parametrize("prefix", ["math", "time", "stdint", "String", "arduino"])
def test_a_prefix_that_would_hide_a_header_is_refused(prefix: str) -> None:
    with pytest.raises(LevshaError, match=rf"a {prefix}\.h would be taken for the compiler's own.*such as my_{prefix}"):
        Style(prefix=prefix)


@pytest.mark.parametrize(
    ("inputs", "output", "said"),
    [
        (("int", "b"), "y", "a value is called 'int'"),
        (("a", "b"), "run", "two things would be called net_run"),
        (("a", "b"), "run_a", "two things would be called net_run_a"),
        (("a", "arena"), "y", "two things would be called net_arena"),
        (("a", "b"), "A", "two things would be called net_A"),
        (("a", "b.c"), "y", "a value is called 'b.c'"),
    ],
)
def test_names_that_c_cannot_give_are_refused(inputs: tuple[str, str], output: str, said: str) -> None:
    graph = Graph({name: Value((2,), 0, 1) for name in inputs}, (Add(name=output, inputs=inputs),))
    with pytest.raises(LevshaError, match=re.escape(said)):
        emit_c(graph, "test")
