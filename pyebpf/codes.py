"""The table of diagnostic codes: for each a title, why the rule exists, a wrong and a right example.

``pyebpf explain CODE`` prints a row. Families: E01 syntax, E02 names and constants, E03 types and integers,
E04 control flow, E05 memory, E06 maps, E07 contexts and packets, E08 helpers, program types and licence,
E09 functions, callbacks and tail calls, E10 objects and building, E11 refused by the kernel.
"""

from __future__ import annotations

import enum

from pyebpf.records import dataclass


@dataclass(frozen=True, slots=True)
class Explanation:
    """One row of the table, as ``pyebpf explain`` prints it."""

    title: str
    why: str
    wrong: str
    right: str


class Code(enum.Enum):
    """Every code that a diagnostic may carry."""

    E0101 = Explanation(
        title="this Python construct cannot be compiled",
        why="A program runs inside the kernel, where Python's object model does not exist. What "
        "cannot be given its Python meaning there is refused; nothing is ever dropped or ignored.",
        wrong="x = [n for n in range(4)]",
        right="total = 0\nfor n in range(4):\n    total += n",
    )
    E0102 = Explanation(
        title="the source of a function cannot be found",
        why="pyebpf compiles the text of a function, which it asks Python for. Python keeps the text "
        "of files, IPython sessions and notebook cells, but not of strings given to `exec`. A file "
        "that has been edited since it was imported no longer has the text of the function.",
        wrong='exec("def prog(skb): return 0")',
        right="# in a file, imported again after editing\ndef prog(skb): return 0",
    )
    E0103 = Explanation(
        title="this is not a plain function",
        why="Programs are plain functions: a lambda has no statements, and generators and coroutines "
        "stop in the middle, which a program in the kernel cannot.",
        wrong="keep = bpf.socket_filter(lambda skb: 0)",
        right="@bpf.socket_filter\ndef keep(skb: bpf.SkBuff) -> int:\n    return 0",
    )
    E0201 = Explanation(
        title="a name is not defined",
        why="Names are looked up as Python does it: in the function, its closure, the module, the "
        "builtins, with their values at the time of compiling.",
        wrong="return pakets[0]",
        right="return packets[0]",
    )
    E0202 = Explanation(
        title="a variable may have no value",
        why="A name that is assigned anywhere in a function is local to it. Where Python would raise "
        "UnboundLocalError on some path, the program is refused.",
        wrong="if n > 3:\n    x = 1\nreturn x",
        right="x = 0\nif n > 3:\n    x = 1\nreturn x",
    )
    E0203 = Explanation(
        title="an object has no such attribute",
        why="Attributes of modules, classes and constants are read by Python itself while compiling.",
        wrong="return bpf.XDP_PAS",
        right="return bpf.XDP_PASS",
    )
    E0204 = Explanation(
        title="a Python object is no value of programs",
        why="Programs know integers, bools, bytes, structs, arrays and what the kernel gives them. "
        "Lists, dicts and other objects of Python exist in user space only.",
        wrong="PORTS = [80, 443]\nif port in PORTS: …",
        right="PORTS = (80, 443)\nif port in PORTS: …",
    )
    E0205 = Explanation(
        title="a constant expression fails",
        why="Expressions of constants are computed by Python while compiling; this one raises an "
        "exception there.",
        wrong="SIZE = 16\nreturn SIZE // (SIZE - 16)",
        right="SIZE = 16\nreturn SIZE // 2",
    )
    E0206 = Explanation(
        title="a constant does not fit",
        why="Values are 64-bit, and narrower where they are stored. A constant that does not fit "
        "would lose its high bits, which is never meant.",
        wrong="key = Key(port=70000)  # port: u16",
        right="key = Key(port=7000)",
    )
    E0207 = Explanation(
        title="this cannot be assigned in a program",
        why="Variables of modules and of enclosing functions that are not compiled live in user space.",
        wrong="global hits\nhits += 1",
        right="hits = bpf.Global[u64](0)\n…\nhits.value += 1",
    )
    E0208 = Explanation(
        title="a map or variable has no usable name",
        why="The kernel and every loader find maps and variables by their names, which must be unique "
        "C identifiers.",
        wrong='a = bpf.ArrayMap[u32, u64](max_entries=1, name="x")\nb = bpf.ArrayMap[u32, '
        'u64](max_entries=1, name="x")',
        right="a = bpf.ArrayMap[u32, u64](max_entries=1)\nb = bpf.ArrayMap[u32, u64](max_entries=1)",
    )
    E0301 = Explanation(
        title="a value has the wrong type",
        why="Each operation wants values of certain types, and nothing is converted that Python would "
        "not convert.",
        wrong="return packets + 1",
        right="return packets[0] + 1",
    )
    E0302 = Explanation(
        title="a floating-point number",
        why="The kernel has no floating point. Constant expressions may use it as long as their "
        "result is an integer.",
        wrong="return len(skb) * 0.5",
        right="return len(skb) // 2",
    )
    E0303 = Explanation(
        title="`u64` meets a value that may be negative",
        why="`u64` holds 0 … 2**64-1 and `i64` holds -2**63 … 2**63-1. No 64-bit type holds the "
        "results of both, so one of them has to be converted.",
        wrong="left = total[0] - (a - b)",
        right="left = total[0] - u64(a - b)",
    )
    E0304 = Explanation(
        title="a shift count may be out of range",
        why="The kernel shifts by 0 … 63. Python's result of a longer shift does not fit into 64 bits.",
        wrong="return 1 << n",
        right="return 1 << (n & 63)",
    )
    E0305 = Explanation(
        title="one variable, two types",
        why="A variable has one type in the whole function, because it lives in one register.",
        wrong="x = 1\nx = Key()",
        right="n = 1\nkey = Key()",
    )
    E0306 = Explanation(
        title="an operator that is not available",
        why="`/` gives a float, and `**` and `@` have no counterpart in the kernel.",
        wrong="return a / b",
        right="return a // b",
    )
    E0307 = Explanation(
        title="a division by zero that always happens",
        why="What is proven always to raise is a mistake, unless it is written as `raise`.",
        wrong="return n // 0",
        right="return n // 8",
    )
    E0308 = Explanation(
        title="text where bytes are wanted",
        why="Strings are bytes in the kernel.",
        wrong='if comm == "sshd": …',
        right='if comm == b"sshd": …',
    )
    E0309 = Explanation(
        title="an annotation that is not understood",
        why="Annotations of parameters and variables say how integers are cut and what references refer to.",
        wrong="x: float = 1",
        right="x: u32 = 1",
    )
    E0310 = Explanation(
        title="a comparison that is not available",
        why="Integers, bools and byte strings are compared; structs have padding and unions without "
        "defined contents, and `is` is for None.",
        wrong="if key == other: …",
        right="if key.port == other.port: …",
    )
    E0311 = Explanation(
        title="a value that may be `None` is used",
        why="Looking up a key may find nothing, and a helper may return nothing. Python would raise "
        "an exception; the kernel refuses the program.",
        wrong="v = sizes.get(key)\nreturn v + 1",
        right="v = sizes.get(key)\nif v is None:\n    return 0\nreturn v + 1",
    )
    E0312 = Explanation(
        title="a tuple cannot be unpacked so",
        why="The number of targets must be the number of values, and both must be known while compiling.",
        wrong="a, b = 1, 2, 3",
        right="a, b = 1, 2",
    )
    E0401 = Explanation(
        title="a loop whose end cannot be shown",
        why="The kernel accepts loops only if they end. pyebpf accepts those that count towards a "
        "bound or shrink a value (see the documentation of loops), so that acceptance does not "
        "depend on luck.",
        wrong="while skb.len > n: …",
        right="for i in range(64):\n    if skb.len <= i: break",
    )
    E0402 = Explanation(
        title="a loop that takes too long to verify",
        why="The kernel follows every iteration of a loop, and gives up after a million instructions. Where a test may "
        "go either way it puts one way aside until it has followed the other to its end, and gives up with more than "
        "some thousands of them.",
        wrong="for i in range(1_000_000): total += i",
        right="def body(i):\n    nonlocal total\n    total += i\nbpf.loop(1_000_000, body)",
    )
    E0403 = Explanation(
        title="a function may end without a result",
        why="A program has to return a verdict on every path, and a function returns a value on every "
        "path or on none.",
        wrong="if n > 3:\n    return 1",
        right="if n > 3:\n    return 1\nreturn 0",
    )
    E0404 = Explanation(
        title="a pattern that is not available",
        why="`match` compares with constants; it does not look into objects.",
        wrong="match key:\n    case Key(port=80): …",
        right="match key.port:\n    case 80: …",
    )
    E0405 = Explanation(
        title="this cannot be iterated over",
        why="`for` goes over ranges, arrays, byte strings and constant tuples of integers.",
        wrong="for k in counts: …",
        right="for k in range(16): …",
    )
    E0406 = Explanation(
        title="an exception that programs do not have",
        why="Programs know Python's exceptions for what can go wrong in them, with Python's hierarchy.",
        wrong="raise SystemExit",
        right="raise ValueError",
    )
    E0407 = Explanation(
        title="a form of `raise` or `assert` that is not available",
        why="Exceptions carry an error number at most; messages are for the reader of the source.",
        wrong="raise ValueError from error",
        right="raise ValueError",
    )
    E0408 = Explanation(
        title="a form of `with` that is not available",
        why="`with` is for what must be paired, such as reserving and submitting a record.",
        wrong='with open("x") as f: …',
        right="with events.reserve(Event) as e: …",
    )
    E0501 = Explanation(
        title="an index that is always out of range",
        why="What is proven always to raise is a mistake.",
        wrong="pair = bpf.array(u32, 2)\nreturn pair[2]",
        right="pair = bpf.array(u32, 2)\nreturn pair[1]",
    )
    E0502 = Explanation(
        title="a struct has no such field",
        why="The fields of a struct are those that its class annotates.",
        wrong="key.prot = 80",
        right="key.port = 80",
    )
    E0503 = Explanation(
        title="a name refers to storage that is gone",
        why="A struct built in a loop is built in the same place in every iteration, and a record "
        "belongs to user space once it is submitted. A name that still refers to it would "
        "silently see other contents.",
        wrong="best = None\nfor i in range(4):\n    item = Item(i)\n    if i == 2: best = item",
        right="best = Item(0)\nfor i in range(4):\n    if i == 2: best.number = i",
    )
    E0504 = Explanation(
        title="a reference that cannot be returned",
        why="A function can return integers, what lives in maps, and structs that it builds. A "
        "parameter belongs to the caller already.",
        wrong="def first(key: Key): return key",
        right="def first(key: Key): return bpf.copy(key)",
    )
    E0505 = Explanation(
        title="constant memory is written",
        why="Byte strings in the source and `bpf.Const` variables lie in read-only memory.",
        wrong="LIMIT.value = 3",
        right="limit = bpf.Global[u32](3)",
    )
    E0506 = Explanation(
        title="a size that must be constant",
        why="Slices and local arrays are memory whose size is known while compiling.",
        wrong="part = name[:n]",
        right="part = name[:8]",
    )
    E0507 = Explanation(
        title="bytes that do not fit",
        why="Byte strings have a fixed capacity.",
        wrong='key = Key(name=b"a long name")  # name: bytes = bpf.chars(4)',
        right='key = Key(name=b"long")',
    )
    E0508 = Explanation(
        title="an update that cannot be atomic",
        why="`+=`, `-=`, `|=`, `&=` and `^=` on memory that other CPUs share are atomic, so that no "
        "update is lost. The kernel has that for 32 and 64 bits.",
        wrong="counts[key] += 1  # a map of u8",
        right="counts[key] += 1  # a map of u32",
    )
    E0509 = Explanation(
        title="a struct is built in the wrong way",
        why="A struct takes its fields in order or by name, each at most once.",
        wrong="Key(1, 2, 3)  # two fields",
        right="Key(1, 2)",
    )
    E0510 = Explanation(
        title="one variable, memory of two kinds",
        why="Packets, ring buffer records and constants have rules of their own: checks, an end, no writing. A "
        "variable refers either to one of them or to other memory.",
        wrong="header = ctx.read(Header, 0)\nif short:\n    header = Header()",
        right="header = bpf.copy(ctx.read(Header, 0))\nif short:\n    header = Header()",
    )
    E0601 = Explanation(
        title="a map does not offer this",
        why="What a map offers depends on its type.",
        wrong="queue[0]",
        right="queue.pop()",
    )
    E0602 = Explanation(
        title="this works in user space only",
        why="Some methods need a process: they walk a whole map, wait, or use the file system.",
        wrong="for k, v in counts.items(): …  # in a program",
        right="print(dict(counts.items()))  # in user space",
    )
    E0603 = Explanation(
        title="a key of the wrong type",
        why="The key must be of the type that the map declares.",
        wrong="sizes[1]  # keys are structs",
        right="sizes[Key(slot=1)]",
    )
    E0604 = Explanation(
        title="a value of the wrong type",
        why="The value must be of the type that the map declares.",
        wrong="sizes[key] = key",
        right="sizes[key] = 1",
    )
    E0605 = Explanation(
        title="a map's method is called in the wrong way",
        why="The methods take the arguments that the documentation of the map names.",
        wrong="counts.get()",
        right="counts.get(key)",
    )
    E0606 = Explanation(
        title="a default that is not available",
        why="`get` with a default works for integers, with a constant or a variable.",
        wrong="infos.get(key, Info())",
        right="info = infos.get(key)\nif info is None: …",
    )
    E0701 = Explanation(
        title="the context has no such field",
        why="The fields of a context are those of the kernel's structure.",
        wrong="skb.lenght",
        right="skb.len",
    )
    E0702 = Explanation(
        title="a context field without the right to it",
        why="Each program type may read and write certain fields of its context; the kernel refuses "
        "all others.",
        wrong="skb.len = 0",
        right="skb.mark = 0",
    )
    E0703 = Explanation(
        title="a context method that is not available",
        why="What a context offers depends on the program type.",
        wrong="ctx.load(u8, 0)  # XDP",
        right="ctx.read(u8, 0)",
    )
    E0704 = Explanation(
        title="a packet reference after the packet was changed",
        why="After a helper that changes the packet, the same offset may hold another byte, and the "
        "kernel forgets what was checked.",
        wrong="eth = ctx.read(Ethernet, 0)\nctx.adjust_head(14)\nreturn eth.proto",
        right="ctx.adjust_head(14)\nip = ctx.read(Ip, 0)",
    )
    E0705 = Explanation(
        title="direct packet access that is not available",
        why="Socket filters cannot look into the packet through pointers.",
        wrong="skb.read(u8, 23)",
        right="skb.load(u8, 23)",
    )
    E0706 = Explanation(
        title="a packet offset that is always wrong",
        why="Packets have at most 65535 bytes, and offsets count from 0.",
        wrong="ctx.read(u8, 70000)",
        right="ctx.read(u8, 70)",
    )
    E0707 = Explanation(
        title="arithmetic on packet pointers",
        why="There is no arithmetic on pointers; the kernel must be able to follow every access.",
        wrong="ctx.data + 14",
        right="ctx.read(Ip, 14)",
    )
    E0802 = Explanation(
        title="a helper that this program type may not call",
        why="The kernel allows each program type certain helpers.",
        wrong="bpf.redirect(1, 0)  # in a socket filter",
        right="@bpf.xdp\ndef prog(ctx): return bpf.redirect(1, 0)",
    )
    E0803 = Explanation(
        title="the target kernel does not have this yet",
        why="Objects are built for a kernel and all later ones. What came later is refused.",
        wrong="pyebpf build --kernel 5.4 file.py",
        right="pyebpf build --kernel 6.1 file.py",
    )
    E0804 = Explanation(
        title="a GPL-only service without a GPL-compatible licence",
        why="The kernel offers some helpers only to programs whose licence it takes for "
        "GPL-compatible. It compares the text exactly.",
        wrong="bpf.ktime_get_ns()",
        right='bpf.license("GPL")',
    )
    E0805 = Explanation(
        title="a helper is called with the wrong number of arguments",
        why="The arguments are those of the C declaration, in order.",
        wrong="bpf.redirect()",
        right="bpf.redirect(index, 0)",
    )
    E0806 = Explanation(
        title="a helper is called with the wrong kind of argument",
        why="The kernel checks for each argument what it is: the context, a map, memory, an integer.",
        wrong="bpf.redirect(skb, 0)",
        right="bpf.redirect(skb.ifindex, 0)",
    )
    E0807 = Explanation(
        title="a size that does not fit the memory",
        why="A helper must not read or write beyond the memory that it is given.",
        wrong="bpf.get_current_comm(name, 32)  # name has 16 bytes",
        right="bpf.get_current_comm(name, bpf.sizeof(name))",
    )
    E0808 = Explanation(
        title="an argument that is not available yet",
        why="Some helpers take kernel objects that programs cannot have yet.",
        wrong="bpf.spin_lock(lock)",
        right="counts[key] += 1  # atomic",
    )
    E0809 = Explanation(
        title="a kernel object is not released",
        why="What a helper acquires must be given back on every path, or the kernel object would stay "
        "in use for ever.",
        wrong="sk = bpf.sk_lookup_tcp(…)\nreturn 0",
        right="sk = bpf.sk_lookup_tcp(…)\nif sk is not None:\n    bpf.sk_release(sk)\nreturn 0",
    )
    E0810 = Explanation(
        title="`checked` around something that cannot fail",
        why="`bpf.checked` turns the error number or null pointer of a helper into an exception.",
        wrong="bpf.checked(bpf.get_prandom_u32())",
        right="bpf.get_prandom_u32()",
    )
    E0901 = Explanation(
        title="a function calls itself",
        why="The kernel's stack is small and fixed, so functions cannot be recursive.",
        wrong="def fact(n): return 1 if n < 2 else n * fact(n - 1)",
        right="result = 1\nfor i in range(2, 11): result *= i",
    )
    E0902 = Explanation(
        title="too many arguments",
        why="BPF passes at most five arguments in registers, and a function that may raise needs one "
        "of them.",
        wrong="f(1, 2, 3, 4, 5, 6)",
        right="f(Arguments(1, 2, 3, 4, 5, 6))",
    )
    E0903 = Explanation(
        title="a function is called with the wrong arguments",
        why="As in Python: every parameter without a default needs an argument, and none gets two.",
        wrong="clamp(1)",
        right="clamp(1, 10)",
    )
    E0904 = Explanation(
        title="this cannot be called",
        why="Programs call Python functions that can be compiled, helpers, types and the functions of "
        "the language.",
        wrong='open("x")',
        right="bpf.get_current_pid_tgid()",
    )
    E0905 = Explanation(
        title="a parameter that is not available",
        why="The number and types of a compiled function's parameters are fixed.",
        wrong="def total(*values): …",
        right="def total(a, b): …",
    )
    E0906 = Explanation(
        title="a callback or local function of the wrong form",
        why="The body of `bpf.loop` takes the index and, if one is given, the state. Local functions "
        "share variables as callbacks only.",
        wrong="bpf.loop(10, body, 5)",
        right="bpf.loop(10, body, State())",
    )
    E0907 = Explanation(
        title="a tail call in the wrong place",
        why="A tail call does not come back: it ends the program, and works in the program itself only.",
        wrong="x = progs[i](ctx)",
        right="return progs[i](ctx)",
    )
    E0908 = Explanation(
        title="an exception may leave a global function",
        why="The kernel verifies a global function on its own, and its callers cannot be told of an "
        "exception.",
        wrong="@bpf.global_function\ndef look(k: u32) -> int: return counts[k]",
        right="@bpf.global_function\ndef look(k: u32) -> int: return counts.get(k, 0)",
    )
    E0909 = Explanation(
        title="a global function with the wrong parameters",
        why="The kernel verifies a global function for all arguments of the types that it states.",
        wrong="@bpf.global_function\ndef f(x): …",
        right="@bpf.global_function\ndef f(x: u32): …",
    )
    E0910 = Explanation(
        title="a program is called by a program",
        why="A program is entered by the kernel. Code that two programs share is a function.",
        wrong="return other_program(ctx)",
        right="return shared_function(ctx)",
    )
    E0911 = Explanation(
        title="a method is called",
        why="Programs call plain functions; there are no objects with methods in the kernel.",
        wrong="tracker.update(1)",
        right="update(1)",
    )
    E0912 = Explanation(
        title="an integer or `None` as a result",
        why="A result is one value in one register.",
        wrong="def find(k):\n    return None if k > 3 else k",
        right="def find(k):\n    return -1 if k > 3 else k",
    )
    E1001 = Explanation(
        title="the stack of a program is too large",
        why="A program and the functions that it calls have 512 bytes of stack together.",
        wrong="big = bpf.array(u64, 100)",
        right="# a per-CPU map as scratch memory\nscratch = bpf.PerCpuArray[u32, Big](max_entries=1)",
    )
    E1002 = Explanation(
        title="calls are nested too deep",
        why="The kernel allows eight frames of functions that are not inlined, the program included.",
        wrong="# nine functions, each @bpf.noinline, each calling the next",
        right="# mark some of them with @bpf.inline",
    )

    @property
    def explanation(self) -> Explanation:
        """The row of this code."""
        return self.value


def codes() -> list[Code]:
    """All codes in order."""
    return sorted(Code, key=lambda c: c.name)
