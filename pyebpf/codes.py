"""The table of diagnostic codes: for each a title, why the rule exists, a wrong and a right example.

``pyebpf explain CODE`` prints a row. Families: E01 syntax, E02 names and constants, E03 types and integers,
E04 control flow, E05 memory, E06 maps, E07 contexts and packets, E08 helpers, program types and licence,
E09 functions, callbacks and tail calls, E10 objects and building, E11 refused by the kernel.
"""

from __future__ import annotations

from pyebpf import enums
from pyebpf.records import dataclass


@dataclass(frozen=True, slots=True)
class Explanation:
    """One row of the table, as ``pyebpf explain`` prints it."""

    title: str
    why: str
    wrong: str
    right: str


class Code(enums.Enum):
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
        "some thousands of them. From Linux 6.4 on such loops go over one of the kernel's iterators, in programs with a "
        "GPL-compatible licence.",
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
        title="the objects of a program are too large",
        why="A program and the functions that it calls have 512 bytes of stack together. What does not fit goes to scratch "
        "memory, of which a function has 30,000 bytes; not in a global function, and not where the state of `for_each` is.",
        wrong="big = bpf.array(u64, 5_000)",
        right="# a per-CPU map for it\nscratch = bpf.PerCpuArray[u32, Big](max_entries=1)",
    )
    E1002 = Explanation(
        title="calls are nested too deep",
        why="The kernel allows eight frames of functions that are not inlined, the program included.",
        wrong="# nine functions, each @bpf.noinline, each calling the next",
        right="# mark some of them with @bpf.inline",
    )

    E1100 = Explanation(
        title="the kernel refused the program",
        why="The verifier gave a reason that pyebpf does not know: a message of a newer kernel, or "
        "one that is rare. What it said stands in the notes, with the line that it was about.",
        wrong='pyebpf.load("theirs.o")  # a message that pyebpf does not know',
        right="pyebpf log file.py  # everything that the verifier wrote",
    )
    E1101 = Explanation(
        title="the kernel sees a value that may be `None`",
        why="Looking up a key may find nothing and reserving a record may fail. On every way to a use "
        "of the result there must be a test.",
        wrong="v = sizes.get(key)\nv.count += 1",
        right="v = sizes.get(key)\nif v is not None:\n    v.count += 1",
    )
    E1102 = Explanation(
        title="the kernel sees a number where memory is accessed",
        why="A reference into the packet is a plain number after the packet was changed, and so is a "
        "record after it was submitted. Addresses that were computed or read from memory cannot "
        "be followed either.",
        wrong="eth = ctx.read(Ethernet, 0)\nctx.adjust_head(14)\nreturn eth.proto",
        right="ctx.adjust_head(14)\neth = ctx.read(Ethernet, 0)\nreturn eth.proto",
    )
    E1103 = Explanation(
        title="the kernel sees an access beyond the packet",
        why="Each access to a packet needs a test of its length before it, on the same way and for as "
        "many bytes.",
        wrong="// in C\nreturn *(__u8 *)(data + 23);",
        right="return ctx.read(u8, 23)",
    )
    E1104 = Explanation(
        title="the kernel sees an access beyond a value or array",
        why="An index needs a lower and an upper bound that the verifier can see, on the very number "
        "that is used.",
        wrong="// in C\nreturn table->entry[ctx->mark];",
        right="return table.entry[skb.mark & 15]",
    )
    E1105 = Explanation(
        title="the kernel sees memory without contents",
        why="Memory of a function holds whatever was there before. Bytes that nothing was written to "
        "may not be read, nor given to a helper; the padding of a struct counts too.",
        wrong="// in C\nstruct key k; k.port = 80;\nbpf_map_lookup_elem(&m, &k);",
        right="m.get(Key(port=80))  # all other bytes are zero",
    )
    E1106 = Explanation(
        title="the kernel sees an access outside a function's memory",
        why="Local memory is an array of bytes; each access must be inside it for every value that an "
        "index may have.",
        wrong="// in C\nchar name[16];\nreturn name[index];",
        right="return name[index & 15]",
    )
    E1107 = Explanation(
        title="the stack is too large",
        why="A program and the functions that it calls have 512 bytes of stack together.",
        wrong="big = bpf.array(u64, 100)",
        right="# a per-CPU map as scratch memory\nscratch = bpf.PerCpuArray[u32, Big](max_entries=1)",
    )
    E1108 = Explanation(
        title="the kernel sees arithmetic on a reference",
        why="References are no numbers: only those to the packet, to values of maps and to local "
        "memory may be moved, by adding and subtracting.",
        wrong="// in C\nreturn *(__u8 *)(data_end - 1);",
        right="return ctx.read(u8, len(ctx) - 1)",
    )
    E1109 = Explanation(
        title="the kernel sees one access to memory of two kinds",
        why="An instruction accesses the context, the packet or plain memory, and always the same.",
        wrong="header = ctx.read(Header, 0) if long else Header()",
        right="header = Header()\nif long:\n    header = bpf.copy(ctx.read(Header, 0))",
    )
    E1110 = Explanation(
        title="the kernel sees a context field that is not available",
        why="Each program type may read certain fields of its context and write others, with their "
        "own width and at a constant offset.",
        wrong="skb.len = 0",
        right="skb.mark = 0",
    )
    E1111 = Explanation(
        title="the kernel sees an argument of the wrong kind",
        why="The kernel checks for each argument of a helper or kernel function what it is: the "
        "context, a map, memory, a number that must be constant.",
        wrong="bpf.redirect(ctx, 0)",
        right="bpf.redirect(ctx.ingress_ifindex, 0)",
    )
    E1112 = Explanation(
        title="the kernel sees a length that does not fit",
        why="A length that is given to a helper needs bounds: at least 0 (or 1), at most the size of "
        "the memory that it goes with.",
        wrong="bpf.get_current_comm(name, n)",
        right="bpf.get_current_comm(name, bpf.sizeof(name))",
    )
    E1113 = Explanation(
        title="this program may not call that",
        why="Helpers and kernel functions are for certain program types, maps and places.",
        wrong="bpf.redirect(1, 0)  # in a socket filter",
        right="@bpf.xdp\ndef prog(ctx): return bpf.redirect(1, 0)",
    )
    E1114 = Explanation(
        title="this kernel does not have that",
        why="The program calls a helper, or depends on a part of the kernel, that the running kernel lacks.",
        wrong="bpf.loop(10, body)  # on Linux 5.15",
        right="for i in range(10): …",
    )
    E1115 = Explanation(
        title="the kernel wants a GPL-compatible licence",
        why="Some helpers and kernel functions are for programs whose licence the kernel takes for "
        "GPL-compatible.",
        wrong="bpf.ktime_get_ns()",
        right='bpf.license("GPL")',
    )
    E1116 = Explanation(
        title="the kernel sees something that is never given back",
        why="What was reserved or acquired must be submitted or released on every way to the end.",
        wrong="record = bpf.ringbuf_reserve(…)\nreturn 0",
        right="with events.reserve(Event) as record: …",
    )
    E1117 = Explanation(
        title="the kernel sees something given back that is not held",
        why="Only what was reserved or acquired can be submitted or released: once, and as it was.",
        wrong="bpf.ringbuf_submit(record, 0)\nbpf.ringbuf_submit(record, 0)",
        right="with events.reserve(Event) as record: …",
    )
    E1118 = Explanation(
        title="the kernel sees a lock or section in the wrong place",
        why="A lock, and a section without interrupts, preemption or under RCU, must be left on every "
        "way, once, and in it hardly anything may be called.",
        wrong="bpf.spin_lock(lock)\nreturn 0",
        right="counts[key] += 1  # atomic, without a lock",
    )
    E1119 = Explanation(
        title="the kernel keeps a field for itself",
        why="Locks, timers and references to kernel objects inside values of maps are changed by "
        "their helpers only.",
        wrong="// in C\nvalue->lock = zero;",
        right="counts[key] += 1  # a value without a lock",
    )
    E1120 = Explanation(
        title="an iterator or dynptr is not in use",
        why="Iterators and dynptrs are made by one helper, used by others, and destroyed by a third, "
        "in this order.",
        wrong="// in C\nbpf_iter_num_next(&it);  // never made",
        right="for i in range(n): …",
    )
    E1121 = Explanation(
        title="the kernel sees a kernel object used in a way that it does not allow",
        why="Fields of kernel objects can be read as the kernel's types tell, and mostly not be written.",
        wrong="// in C\ntask->pid = 1;",
        right="pid = bpf.get_current_pid_tgid() >> 32",
    )
    E1122 = Explanation(
        title="the kernel sees a write to constant memory",
        why="Constants, and maps that programs may only read, cannot be written by programs.",
        wrong="LIMIT.value = 3",
        right="limit = bpf.Global[u32](3)",
    )
    E1123 = Explanation(
        title="an address would leave the kernel",
        why="Where a process lacks CAP_PERFMON its programs may not compute with addresses or show "
        "them to anybody.",
        wrong="// in C\nreturn (long)ctx;",
        right="return len(ctx)",
    )
    E1124 = Explanation(
        title="a result that the kernel does not allow here",
        why="Some program types and all callbacks may return certain numbers only.",
        wrong="return 7  # from a callback",
        right="return 0",
    )
    E1125 = Explanation(
        title="the kernel sees a loop that does not end",
        why="In each round something must change that the end of the loop depends on.",
        wrong="// in C\nwhile (1) {}",
        right="for i in range(64): …",
    )
    E1126 = Explanation(
        title="the program takes too long to verify",
        why="The verifier follows every way through a program, and every round of a loop with numbers "
        "that differ. It gives up after a million instructions, or after 8192 branches that wait "
        "to be followed.",
        wrong="for i in range(100_000):\n    if data[i & 7] > limit: found += i",
        right="def body(i): …\nbpf.loop(100_000, body)",
    )
    E1127 = Explanation(
        title="the kernel sees calls nested too deep",
        why="Eight frames are allowed, that of the program included; a function that calls itself "
        "needs more.",
        wrong="def fact(n): return 1 if n < 2 else n * fact(n - 1)",
        right="result = 1\nfor i in range(2, 11): result *= i",
    )
    E1128 = Explanation(
        title="a global function is called or declared in the wrong way",
        why="The kernel verifies a global function on its own, for all arguments of the types that it "
        "states; each call must give such arguments, and the result is a number.",
        wrong="look(None)  # a global function that reads its argument",
        right="if value is not None:\n    look(value)",
    )
    E1129 = Explanation(
        title="there is no such place to attach to",
        why="Tracing programs name a function of the kernel, and operations a member of a structure, "
        "which the running kernel must have.",
        wrong='// in C\nSEC("fentry/do_unlnkat")',
        right='// in C\nSEC("fentry/do_unlinkat")',
    )
    E1130 = Explanation(
        title="the kernel does not have this atomic operation",
        why="Atomic operations work on 4 or 8 bytes of local memory and of values of maps, not on "
        "packets and contexts.",
        wrong="// in C\n__sync_fetch_and_add(&ctx->mark, 1);",
        right="skb.mark += 1",
    )
    E1131 = Explanation(
        title="the kernel sees an access at an odd address",
        why="Some machines access memory at multiples of the width only.",
        wrong="// in C, on such a machine\nreturn *(__u32 *)(data + 1);",
        right="return ctx.read(u32, 1)",
    )
    E1190 = Explanation(
        title="the debug information is wrong",
        why="The kernel checks the types and lines that come with a program. What it refuses there is "
        "a mistake of whoever made them.",
        wrong="# nothing in a program causes this",
        right="# please report it, with the source",
    )
    E1191 = Explanation(
        title="the instructions are malformed",
        why="The kernel checks the form of the code before it follows it. What it refuses there is a "
        "mistake of the compiler.",
        wrong="# nothing in a program causes this",
        right="# please report it, with the source",
    )

    E1201 = Explanation(
        title="the kernel's types are not known",
        why="Fields of the kernel's structs are found by the type information (BTF) of the kernel that a "
        "program is compiled for: the running one, or one in a file.",
        wrong="pyebpf build trace.py  # on a machine whose kernel has no BTF",
        right="pyebpf build trace.py --btf vmlinux.btf",
    )
    E1202 = Explanation(
        title="there is no such type in the kernel",
        why="`from pyebpf.kernel import …` takes any name; whether the kernel has a type of that name is "
        "looked up when the program is compiled.",
        wrong="from pyebpf.kernel import task_strukt",
        right="from pyebpf.kernel import task_struct",
    )
    E1203 = Explanation(
        title="a type of the kernel has no such part",
        why="The fields of a struct are those of the kernel whose types are used. Other releases have "
        "others; a program that knows both declares them itself and asks which there is.",
        wrong="state = task.state  # `__state` since Linux 5.14",
        right="@bpf.kernel_struct\nclass task_struct___old:\n    state: i64\n…\n"
        'if bpf.field_exists(task_struct___old, "state"): …',
    )
    E1204 = Explanation(
        title="a parameter that the target does not give",
        why="A tracing program gets the arguments of its target in their order, what the target "
        "returned in `retval` where it runs after that, and its context in `ctx`.",
        wrong='@bpf.kretprobe("vfs_read")\ndef read(file, count): …',
        right='@bpf.kretprobe("vfs_read")\ndef read(retval: i64): …',
    )
    E1205 = Explanation(
        title="there is no such target",
        why="The function, tracepoint, hook or iterator that a decorator names must be in the kernel "
        "whose types are used.",
        wrong='@bpf.fentry("vfs_raed")',
        right='@bpf.fentry("vfs_read")',
    )
    E1206 = Explanation(
        title="a result that the kernel does not take",
        why="Some kinds of programs may only return certain numbers: fentry and fexit 0, lsm 0 or a "
        "negative error number. The kernel must see that it is one of them.",
        wrong="return count  # from an lsm program",
        right="return -errno.EPERM if count > limit else 0",
    )
    E1207 = Explanation(
        title="memory that cannot be written",
        why="Programs read the memory of the kernel and of users. What may be written there, helpers write.",
        wrong="task.flags = 0",
        right="bpf.probe_write_user(address, value, 8)",
    )
    E1208 = Explanation(
        title="no such setting of the kernel",
        why="`bpf.kconfig` takes the name of a configuration option, and what type its value has.",
        wrong='bpf.kconfig("HZ")',
        right='bpf.kconfig("CONFIG_HZ")',
    )

    @property
    def explanation(self) -> Explanation:
        """The row of this code."""
        return self.value


def codes() -> list[Code]:
    """All codes in order."""
    return sorted(Code, key=lambda c: c.name)
