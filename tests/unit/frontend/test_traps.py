"""What Python gives a meaning and a compiler could silently give another one, or none.

``REFUSED``: a program, the code, and the place (marked with ``«»``). ``ACCEPTED``: a program and its result, which the
reference evaluator and CPython, running the undecorated function on the same packet, must both give.
"""

# ruff: noqa: E501  (a program stands in one line)
from __future__ import annotations

from typing import Any

import pytest

from pyebpf.codes import Code
from pyebpf.target import Target
from tests.differential.evaluator import Context, Evaluator
from tests.unit.frontend.planting import Planted, analysed, module_of, plant, program_text, refusals, within

TARGET = Target(kernel=(6, 6))
PACKET = bytes(range(1, 65))

# Body, code, and declarations before the program where there are any.
REFUSED: dict[str, tuple[str, Code] | tuple[str, Code, str]] = {
    # ---- functions
    "decorator of a nested function": ("@«add»\ndef inner():\n    return 1\nn = inner()", Code.E0101),
    "default of a nested function": ("def inner(a=«n»):\n    return a\nn = inner()", Code.E0905),
    "nested function used before its definition": (
        "x = «inner»(1)\ndef inner(a):\n    return a\nn = x",
        Code.E0202,
    ),
    "nested function defined on one path": (
        "if n > 3:\n    def inner(a):\n        return a\nn = «inner»(1)",
        Code.E0202,
    ),
    "nested function defined twice": (
        "def inner():\n    return 1\n«def inner»():\n    return 2\nn = inner()",
        Code.E0906,
    ),
    "nested function and variable": ("inner = 1\n«def inner»():\n    return 2\nn = 3", Code.E0906),
    "recursion": ("def inner(a):\n    return «inner(a)»\nn = inner(1)", Code.E0901),
    "too few arguments": ("n = «add()»", Code.E0903),
    "too many arguments": ("n = «add(1, 2, 3)»", Code.E0903),
    "argument given twice": ("n = add(1, «a=2»)", Code.E0903),
    "keyword that the function has not": ("n = add(1, «c=2»)", Code.E0903),
    "positional-only by keyword": ("n = first(«a=1»)", Code.E0903, "def first(a, /):\n    return a\n"),
    "keyword-only parameter": ("n = first(1, b=2)", Code.E0905, "def first(a, *, «b»):\n    return a\n"),
    "star parameter": ("n = first(1, 2)", Code.E0905, "«def first»(a, *rest):\n    return a\n"),
    "star argument": ("n = add(«*NUMBERS»)", Code.E0101),
    "double star argument": ("n = add(**«{'a': 1}»)", Code.E0101),
    "method": (
        "n = «tool.get»(1)",
        Code.E0911,
        "class Tool:\n    def get(self, a):\n        return a\n\n\ntool = Tool()\n",
    ),
    "callable object": (
        "n = «tool»(1)",
        Code.E0904,
        "class Tool:\n    def __call__(self, a):\n        return a\n\n\ntool = Tool()\n",
    ),
    "cached function": (
        "n = «cached»(1)",
        Code.E0904,
        "import functools\n\n\n@functools.cache\ndef cached(a):\n    return a\n",
    ),
    "partial function": (
        "n = «part»(1)",
        Code.E0904,
        "import functools\n\npart = functools.partial(add, 1)\n",
    ),
    "nested class": ("«class Inner:\n    pass»", Code.E0101),
    "program calls program": (
        "n = «other»(skb)",
        Code.E0910,
        "@bpf.socket_filter\ndef other(skb):\n    return 1\n",
    ),
    "function as a value": ("x = «add»\nn = 1", Code.E0204),
    "result annotation that is not true": (
        "n = wrong()",
        Code.E0301,
        "def wrong() -> Pair:\n    return «1»\n",
    ),
    "result annotation without a result": (
        "wrong()",
        Code.E0301,
        "«def wrong»() -> int:\n    hits.value = 1\n",
    ),
    "result annotation of nothing": ("wrong()", Code.E0301, "def wrong() -> None:\n    return «1»\n"),
    "result annotation bool": ("x = wrong()", Code.E0301, "def wrong() -> bool:\n    return «1»\n"),
    "optional in a tuple assignment": ("x = 1\nx, y = 5, «table.get(x)»", Code.E0311),
    "optional in a chained assignment": ("x = y = «table.get(1)»", Code.E0311),
    "swap of optionals": ("x = table.get(1)\ny = table.get(2)\nx, y = «y», x", Code.E0311),
    # ---- names
    "global": ("«global HITS»\nHITS = 1", Code.E0101, "HITS = 0\n"),
    "global read only": ("«global HITS»\nn = 1", Code.E0101, "HITS = 0\n"),
    "variable of the module augmented": ("«HITS» += 1", Code.E0202, "HITS = 0\n"),
    "del of a variable": ("x = 1\ndel «x»", Code.E0101),
    "variable unbound on one path": ("if n > 3:\n    x = 1\nn = «x»", Code.E0202),
    "variable unbound after an empty loop": ("for i in range(n & 3):\n    pass\nn = «i»", Code.E0202),
    "variable of an except clause": (
        "try:\n    numbers[n] = 1\nexcept OSError as e:\n    pass\nn = «e».errno",
        Code.E0202,
    ),
    "annotation without a value": ("x: u32\nn = «x»", Code.E0202),
    "import": ("«import os»", Code.E0101),
    "import inside if": ("if n:\n    «from os import path»", Code.E0101),
    "own len": ("n = «len»(skb)", Code.E0904, "class len:\n    pass\n"),
    "own range": ("for i in «range(4)»:\n    n = i", Code.E0903, "def range():\n    return 1\n"),
    "own print": ("«print(f'{n}')»", Code.E0903, "def print():\n    return 1\n"),
    "local called len": ("len = 3\nn = «len»(skb)", Code.E0904),
    "list of the module": ("n = «PORTS[0]»", Code.E0301, "PORTS = [1, 2]\n"),
    "search in a list of the module": ("if n in «PORTS»:\n    n = 1", Code.E0204, "PORTS = [1, 2]\n"),
    "loop over a list of the module": ("for p in «PORTS»:\n    n = p", Code.E0405, "PORTS = [1, 2]\n"),
    "length of a list of the module": ("n = «len(PORTS)»", Code.E0204, "PORTS = [1, 2]\n"),
    "truth of a list of the module": ("if «PORTS»:\n    n = 1", Code.E0204, "PORTS = [1, 2]\n"),
    "dict of the module": ("n = «PORTS[1]»", Code.E0301, "PORTS = {1: 2}\n"),
    "method of a list of the module": ("n = «PORTS.index»(2)", Code.E0904, "PORTS = [1, 2]\n"),
    "attribute of the module assigned": ("«config.level» = 1", Code.E0207, "class config:\n    level = 1\n"),
    "property that fails": (
        "n = «config.level»",
        Code.E0205,
        "class Config:\n    @property\n    def level(self):\n        raise ValueError('no')\n\n\nconfig = Config()\n",
    ),
    "float of the module": ("n = «RATE»", Code.E0302, "RATE = 0.5\n"),
    "function of another module": ("n = «math.floor»(n)", Code.E0904, "import math\n"),
    # ---- statements
    "assert with a computed message": ("assert n, «n + 1»", Code.E0407),
    "raise from": ("raise ValueError from «None»", Code.E0407),
    "raise of a computed message": ("raise ValueError(«n»)", Code.E0407),
    "raise of an instance that is no exception": ("raise «add»", Code.E0406),
    "bare raise": ("«raise»", Code.E0407),
    "except*": ("«try:\n    n = numbers[n]\nexcept* KeyError:\n    n = 1»", Code.E0101),
    "except of SystemExit": ("try:\n    n = numbers[n]\nexcept «SystemExit»:\n    n = 1", Code.E0406),
    "attribute of a KeyError": (
        "try:\n    n = table[n]\nexcept OSError as e:\n    n = «e.args»",
        Code.E0406,
    ),
    "with of something else": ("with «n» as x:\n    pass", Code.E0408),
    "with of open": ("with «open('x')» as x:\n    pass", Code.E0408),
    "match on a class": ("match n:\n    case «int()»:\n        n = 1", Code.E0404),
    "match on a float": ("match n:\n    case «1.5»:\n        n = 1", Code.E0302),
    "for over enumerate": ("for i in «enumerate»(NUMBERS):\n    n = i", Code.E0904),
    "for over zip": ("for i in «zip»(NUMBERS, NUMBERS):\n    n = i", Code.E0904),
    "for over reversed": ("for i in «reversed»(NUMBERS):\n    n = i", Code.E0904),
    "for over a map": ("for i in «table»:\n    n = i", Code.E0405),
    "step of zero": ("for i in range(0, 4, «0»):\n    n = i", Code.E0205),
    "sum": ("n = «sum»(NUMBERS)", Code.E0904),
    "sorted": ("n = «sorted»(NUMBERS)", Code.E0904),
    "isinstance": ("n = «isinstance»(n, int)", Code.E0904),
    "print with file": ("print('x', «file=None»)", Code.E0101),
    "print with sep": ("print('x', «sep='-'»)", Code.E0101),
    "print of two values": ("«print('x', n)»", Code.E0301),
    "print of nothing": ("«print()»", Code.E0301),
    "print of a number": ("print(«n»)", Code.E0301),
    "print of a struct": ("print(f'{«pair»}')", Code.E0301),
    "print of a bool": ("x = n > 3\nprint(f'{«x»}')", Code.E0301),
    "f-string with repr": ("x = n > 3\nprint(f'{«x»!r}')", Code.E0101),
    "f-string centred": ("print(f'{«n»:^8d}')", Code.E0301),
    "f-string with thousands": ("print(f'{«n»:,}')", Code.E0301),
    "f-string with a computed width": ("print(f'{n:{«n»}d}')", Code.E0101),
    "f-string with C's u": ("print(f'{«n»:u}')", Code.E0301),
    "f-string with a sign the kernel forgets": ("print(f'{«numbers[0]»:+d}')", Code.E0301),
    "f-string as a value": ("x = «f'{n}'»", Code.E0101),
    # ---- operators
    "is of integers": ("x = «n is 3»", Code.E0310),
    "is not of integers": ("x = «n is not 3»", Code.E0310),
    "is of structs": ("x = «pair is pair»", Code.E0310),
    "struct equals None": ("x = «pair == None»", Code.E0310),
    "struct equals struct": ("x = «pair == pair»", Code.E0310),
    "bytes equal str": ("x = skb.load_bytes(0, 4) == «'abcd'»", Code.E0308),
    "bytes less than bytes": ("x = «skb.load_bytes(0, 4) < b'abcd'»", Code.E0310),
    "bytes plus bytes": ("x = «skb.load_bytes(0, 4)» + b'abcd'", Code.E0301),
    "bytes times integer": ("x = «skb.load_bytes(0, 4)» * 2", Code.E0301),
    "integer equals bytes": ("x = «n == b'a'»", Code.E0310),
    "integer in bytes": ("x = «n in b'abc'»", Code.E0310),
    "str plus integer": ("x = «'a' + 1»", Code.E0205),
    "percent formatting": ("x = «'a%d'» % n", Code.E0308),
    "power": ("x = «n ** 2»", Code.E0306),
    "matrix product": ("x = «n @ n»", Code.E0306),
    "true division": ("x = «n / 2»", Code.E0306),
    "true division in place": ("«n /= 2»", Code.E0306),
    "float constant": ("x = «1.5»", Code.E0302),
    "complex constant": ("x = «1j»", Code.E0204),
    "literal beyond 64 bits": ("x = «0x1_0000_0000_0000_0000»", Code.E0206),
    "literal below 64 bits": ("x = «-0x8000_0000_0000_0001»", Code.E0206),
    "shift by a negative": ("x = «n << -1»", Code.E0304),
    "shift by 64": ("x = «n << 64»", Code.E0304),
    "shift by a variable": ("x = «1 << n»", Code.E0304),
    "division by zero": ("x = «n // 0»", Code.E0307),
    "constant division by zero": ("x = «1 // 0»", Code.E0205),
    "u64 minus what may be more": ("x = «numbers[0] - (n - 5)»", Code.E0303),
    "call of an integer": ("x = «n»(1)", Code.E0904),
    "attribute of an integer": ("x = «n.bit_length»()", Code.E0904),
    "index of an integer": ("x = «n[0]»", Code.E0301),
    "tuple as a value": ("x = «(n, 1)»\nn = 1", Code.E0301),
    "unpacking too few": ("«x, y = 1, 2, 3»", Code.E0312),
    "unpacking an integer": ("«x, y = n»", Code.E0312),
    "walrus in a comprehension": ("x = «[(y := m) for m in NUMBERS]»", Code.E0101),
    "optional in arithmetic": ("x = «bytewise.get(1)» + 1", Code.E0311),
    "in of an empty tuple drops a call": (
        "def inner():\n    hits.value += 1\n    return 1\nx = «inner() in ()»",
        Code.E0310,
    ),
    "in that is cut short drops a call": (
        "def inner():\n    hits.value += 1\n    return 1\nx = n in (1, «inner()»)",
        Code.E0310,
    ),
    "is None drops a call": (
        "def inner():\n    hits.value += 1\n    return 1\nx = «inner() is None»",
        Code.E0310,
    ),
    "truth of a tuple drops a call": (
        "def inner():\n    hits.value += 1\n    return 1\nif «(inner(), 2)»:\n    pass",
        Code.E0310,
    ),
    "index of a tuple": ("x = «(n, 2)»[1]", Code.E0301),
    "length of a tuple drops a call": (
        "def inner():\n    hits.value += 1\n    return 1\nx = «len((inner(), 2))»",
        Code.E0310,
    ),
    "size drops a call": ("x = «bpf.sizeof(skb.load_bytes(0, 4))»", Code.E0310),
    "bytes that are never equal drop a load": ("x = «skb.load_bytes(0, 2) == b'abc'»", Code.E0310),
    "prefix that is never there drops a load": ("x = «skb.load_bytes(0, 2).startswith(b'abc')»", Code.E0310),
    "keywords in another order, with a walrus": ("x = 1\nn = add(b=(x := 7), «a=x»)", Code.E0903),
    "keywords in another order, with a call": (
        "def inner():\n    hits.value += 1\n    return 1\nn = add(b=inner(), «a=hits.value»)",
        Code.E0903,
    ),
    "nested function that is never called": ("«def inner»(a):\n    return a", Code.E0906),
    "None in arithmetic": ("x = n + «None»", Code.E0301),
    "await": ("«async def inner():\n    await n»", Code.E0101),
    "yield in a nested function": ("def inner():\n    «yield n»\ninner()", Code.E0101),
    "int with a base": ("x = «int('10', 2)»", Code.E0903),
    "len by keyword": ("x = «len(obj=skb)»", Code.E0903),
    "dropped key of an atomic update": ("«bytewise[1] += 1»", Code.E0508),
}

# Body and result; declarations before the program where there are any.
ACCEPTED: dict[str, tuple[str, int] | tuple[str, int, str]] = {
    "docstring": ("'a docstring'\nn = 1", 1),
    "pass and ...": ("pass\n...\nn = 1", 1),
    "docstring of a nested function": ("def inner():\n    'text'\n    return 7\nn = inner()", 7),
    "chained assignment": ("a = b = n + 1\nn = a * 100 + b", 65 * 101),
    "chained assignment to places": ("pair.left = x = pair.right = 7\nn = pair.left + x + pair.right", 21),
    "chained assignment, left to right": ("i = pair.left = 1\ni = i + 1\nn = i * 10 + pair.left", 21),
    "swap": ("a, b = 1, 2\na, b = b, a\nn = a * 10 + b", 21),
    "swap of fields": (
        "pair.left, pair.right = 1, 2\npair.left, pair.right = pair.right, pair.left\nn = pair.left * 10 + pair.right",
        21,
    ),
    "rotation": ("a, b, c = 1, 2, 3\na, b, c = b, c, a\nn = a * 100 + b * 10 + c", 231),
    "nested unpacking": ("(a, b), c = (1, 2), 3\nn = a * 100 + b * 10 + c", 123),
    "list as a target": ("[a, b] = 1, 2\nn = a * 10 + b", 12),
    "unpacking bytes": ("a, b = b'\\x01\\x02'\nn = a * 10 + b", 12),
    "bool arithmetic": ("n = True + (n > 3) * 5 + (n > 100)", 6),
    "bool as an index": ("n = NUMBERS[n > 3]", 2),
    "bool and bool": ("x = (n > 3) & (n > 4)\nn = 1 if x else 2", 1),
    "bool xor bool": ("x = (n > 3) ^ (n > 4)\nn = 1 if x else 2", 2),
    "or gives the operand": ("n = (n - 64) or 7", 7),
    "and gives the operand": ("n = n and 7", 7),
    "or of three": ("n = (n - 64) or (n - 63) or 5", 1),
    "not of a number": ("n = 3 + (not n)", 3),
    "octal, binary and underscores": ("n = 0o17 + 0b11 + 1_000 + 0x_ff", 15 + 3 + 1000 + 255),
    "power of constants": ("n = 2 ** 10", 1024),
    "float constants with an integer result": ("n = int(1.5 * 4)", 6),
    "negative floor division": ("x = n - 71\nn = x // 2 + 100", 96),
    "negative modulo": ("x = n - 71\nn = x % 4", 1),
    "modulo of a negative divisor": ("x = n - 71\nn = n % x + 100", 94),
    "shift of a negative": ("x = n - 71\nn = (x >> 1) + 100", 96),
    "invert": ("n = ~n + 100", 35),
    "chained comparison": ("n = 1 if 3 < n < 100 else 2", 1),
    "chained comparison evaluates once": (
        "def inner(a):\n    hits.value += 1\n    return a\nn = 1 if 3 < inner(5) < 9 else 2\nn = n * 10 + hits.value",
        11,
    ),
    "comparison of bool and int": ("n = 1 if (n > 3) == 1 else 2", 1),
    "in of a tuple": ("n = 1 if n in (1, 64, 3) else 2", 1),
    "not in of a tuple": ("n = 1 if n not in (1, 64, 3) else 2", 2),
    "in of a range": ("n = 1 if n in range(10, 65) else 2", 1),
    "in of a range with a step": ("n = 1 if n in range(1, 65, 2) else 2", 2),
    "and of a known side": (
        "def inner():\n    hits.value += 1\n    return 1\nx = inner() and False\nn = hits.value",
        1,
    ),
    "or of a known side": (
        "def inner():\n    hits.value += 1\n    return 0\nx = inner() or True\nn = hits.value",
        1,
    ),
    "if of a call or a constant": (
        "def inner():\n    hits.value += 1\n    return 0\nif inner() or True:\n    n = 5\nn += hits.value",
        6,
    ),
    "if of a call and a constant": (
        "def inner():\n    hits.value += 1\n    return 0\nif inner() and False:\n    n = 5\nn += hits.value",
        65,
    ),
    "walrus": ("if (x := n + 1) > 3:\n    n = x", 65),
    "walrus in a condition that is cut short": ("x = 1\nif n > 100 and (x := 5) > 3:\n    pass\nn = x", 1),
    "walrus first": ("n = (x := 3) + x * 10", 33),
    "operands from left to right": ("x = 1\nn = x + (x := 5) * 10 + x * 100", 551),
    "augmented reads first": ("x = 1\nx += (x := 5)\nn = x", 6),
    "arguments from left to right": ("x = 1\nn = add(x, (x := 7)) + x", 15),
    "min from left to right": ("x = 3\nn = min(x, (x := 1), x) * 10 + x", 11),
    "tuple from left to right": ("x = 1\na, b = x, (x := 5)\nn = a * 10 + b", 15),
    "comparison from left to right": ("x = 1\nn = 10 if x < (x := 5) else 20", 10),
    "index before value": ("x = 0\na = bpf.array(u8, 4)\na[x] = (x := 2)\nn = a[0] * 10 + a[2]", 2),
    "loop variable after the loop": ("for i in NUMBERS:\n    pass\nn = i", 3),
    "loop variable changed inside": ("t = 0\nfor i in range(3):\n    t += i\n    i = 100\nn = t + i", 103),
    "range evaluated once": ("k = 3\nt = 0\nfor i in range(k):\n    k = 0\n    t += 1\nn = t", 3),
    "range backwards": ("t = 0\nfor i in range(5, 0, -2):\n    t = t * 10 + i\nn = t", 531),
    "empty range keeps the variable": ("i = 9\nfor i in range(3, 3):\n    pass\nn = i", 9),
    "else of for": ("for i in range(3):\n    if i == 5:\n        break\nelse:\n    n = 7", 7),
    "else of for after break": ("for i in range(3):\n    if i == 2:\n        break\nelse:\n    n = 7", 64),
    "else of while": ("x = 0\nwhile x < 3:\n    x += 1\nelse:\n    n = 7", 7),
    "continue in for": ("t = 0\nfor i in range(5):\n    if i & 1:\n        continue\n    t += i\nn = t", 6),
    "break out of two": (
        "t = 0\nfor i in range(3):\n    for j in range(3):\n        if j == 1:\n            break\n        t += 1\nn = t",
        3,
    ),
    "break in finally": ("for i in range(3):\n    try:\n        pass\n    finally:\n        break\nn = i", 0),
    "continue in try with finally": (
        "t = 0\nfor i in range(3):\n    try:\n        continue\n    finally:\n        t += 1\nn = t",
        3,
    ),
    "return in try with finally": (
        "def inner():\n    try:\n        return 1\n    finally:\n        hits.value += 5\nn = inner() * 10 + hits.value",
        15,
    ),
    "return in finally wins": (
        "def inner():\n    try:\n        return 1\n    finally:\n        return 2\nn = inner()",
        2,
    ),
    "return in finally swallows": (
        "def inner():\n    try:\n        raise ValueError\n    finally:\n        return 2\nn = inner()",
        2,
    ),
    "return value before finally": (
        "def inner():\n    x = 1\n    try:\n        return x\n    finally:\n        x = 2\nn = inner()",
        1,
    ),
    "else of try is not guarded": (
        "def inner():\n    try:\n        try:\n            x = 1\n        except ValueError:\n            return 1\n        else:\n            raise ValueError\n    except ValueError:\n        return 2\nn = inner()",
        2,
    ),
    "handler order": (
        "try:\n    raise IndexError\nexcept LookupError:\n    n = 1\nexcept IndexError:\n    n = 2",
        1,
    ),
    "reraise": (
        "try:\n    try:\n        raise KeyError\n    except LookupError:\n        raise\nexcept KeyError:\n    n = 3",
        3,
    ),
    "exception in a handler": (
        "try:\n    try:\n        raise KeyError\n    except KeyError:\n        raise ValueError\nexcept ValueError:\n    n = 3",
        3,
    ),
    "exception in a handler passes its siblings": (
        "try:\n    try:\n        raise KeyError\n    except KeyError:\n        raise ValueError\n    except ValueError:\n        n = 1\nexcept ValueError:\n    n = 3",
        3,
    ),
    "finally after an exception": (
        "try:\n    try:\n        raise KeyError\n    finally:\n        n = 5\nexcept KeyError:\n    n += 1",
        6,
    ),
    "assert that fails": ("assert n > 100, 'too short'\nn = 3", 0),
    "assert that holds": ("assert n > 3, 'too short'\nn = 3", 3),
    "division by zero raises": ("x = n - 64\ntry:\n    n = 5 // x\nexcept ZeroDivisionError:\n    n = 9", 9),
    "modulo by zero raises": ("x = n - 64\ntry:\n    n = 5 % x\nexcept ZeroDivisionError:\n    n = 9", 9),
    "match with a capture": ("match n:\n    case 1:\n        n = 2\n    case x:\n        n = x + 1", 65),
    "match with a guard": (
        "match n:\n    case x if x > 100:\n        n = 1\n    case x if x > 10:\n        n = 2\n    case _:\n        n = 3",
        2,
    ),
    "match captures before the guard": (
        "x = 0\nmatch n:\n    case x if x > 100:\n        n = 1\n    case _:\n        n = x",
        64,
    ),
    "match with alternatives": ("match n:\n    case 1 | 64 | 3:\n        n = 2", 2),
    "match with as": ("match n:\n    case 1 | 64 as x:\n        n = x + 2", 66),
    "match of nothing": ("match n:\n    case 1:\n        n = 2", 64),
    "match of an enum": (
        "match n - 62:\n    case Color.RED:\n        n = 2\n    case Color.BLUE:\n        n = 3",
        3,
    ),
    "nested function and its own names": (
        "x = 5\ndef inner(a):\n    x = a + 1\n    return x\nn = inner(1) * 10 + x",
        25,
    ),
    "nested default": ("def inner(a, b=3):\n    return a * 10 + b\nn = inner(1)", 13),
    "default of the module": ("n = add(1)", 3),
    "default evaluated at the definition": (
        "n = late()",
        1,
        "X = 1\n\n\ndef late(a=X):\n    return a\n\n\nX = 2\n",
    ),
    "constant of the module, last value": ("n = X", 2, "X = 1\nX = 2\n"),
    "constant attribute": ("n = config.level", 3, "class config:\n    level = 3\n"),
    "static method": (
        "n = Tool.get(4)",
        5,
        "class Tool:\n    @staticmethod\n    def get(a):\n        return a + 1\n",
    ),
    "own range": ("n = range(4)", 5, "def range(a):\n    return a + 1\n"),
    "own min": ("n = min(4, 3)", 7, "def min(a, b):\n    return a + b\n"),
    "own print": ("print(4)\nn = 1", 1, "def print(a):\n    return a + 1\n"),
    "local called max": ("max = 3\nn = max", 3),
    "conditional import of the module": (
        "n = kind",
        1,
        "try:\n    import nowhere as kind\nexcept ImportError:\n    kind = 1\n",
    ),
    "wrapped function": (
        "n = wrapped(1)",
        11,
        "import functools\n\n\ndef twice(f):\n    @functools.wraps(f)\n    def wrapper(a):\n        return f(a) + 5\n    return wrapper\n\n\n@twice\ndef wrapped(a):\n    return a + 5\n",
    ),
    "annotated variable": ("x: i64 = 250\nx += n\nn = x", 314),
    "conversion keeps the low bits": ("n = u8(n + 250)", (64 + 250) & 255),
    "alias of a struct": ("other = pair\nother.left = 9\nn = pair.left", 9),
    "constant if takes one branch": ("if NUMBERS:\n    n = 1\nelse:\n    n = [1]", 1),
    "semantics of the dead": ("if n > 1000:\n    raise ValueError\nn = 2", 2),
    "conditional expression": ("n = 1 if n > 100 else 2 if n > 10 else 3", 2),
    "conditional expression evaluates one": ("x = 1\ny = (x := 5) if n > 100 else 7\nn = x * 10 + y", 17),
    "tuple constant": ("n = NUMBERS[-1] + len(NUMBERS)", 6),
    "slice of a constant": ("a, b = NUMBERS[1:]\nn = a * 10 + b", 23),
    "constant bytes": ("n = b'abc'[1]", 98),
    "constant call": ("n = 'abc'.index('c')", 2),
    "abs, min, max": ("n = abs(n - 100) + min(n, 5) + max(1, n, 70)", 36 + 5 + 70),
}


def test_nonlocal_of_what_is_not_compiled() -> None:
    """A variable of the function that makes the program lives in user space."""
    made = program_text("«nonlocal level»\nlevel = 1").split("@bpf.socket_filter\n")
    inner = "".join(f"    {line}\n" for line in ("@bpf.socket_filter\n" + made[1]).splitlines())
    planted = plant(f"{made[0]}def make():\n    level = 0\n{inner}    return program\n\n\nprogram = make()\n")
    (found,) = refusals(planted, TARGET)
    assert (found.code, found.span) == (Code.E0207, planted.span)


def test_same_code_in_two_files() -> None:
    """Code objects of different files, or of different annotations, can be equal: the text decides."""
    one, two = (plant(program_text(f"x: «{kind}» = 250\nx += n\nn = x")) for kind in ("u8", "u16"))
    wanted = {one.file: (250 + 64) & 255, two.file: 250 + 64}
    for planted in (one, two):
        unit = analysed(planted, TARGET)
        assert unit.programs[0].span.file == planted.file
        verdict = Evaluator(unit).run(unit.programs[0], Context(bytearray(PACKET), {"len": len(PACKET)}))
        assert verdict == wanted[planted.file]


class Skb:
    """A packet for CPython."""

    def __len__(self) -> int:
        return len(PACKET)


def _refused(name: str) -> Planted:
    body, _, *rest = REFUSED[name]
    return plant(program_text(body, globals_=rest[0] + "\n" if rest else ""))


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_refused(name: str) -> None:
    """The code, at the place."""
    planted = _refused(name)
    found = refusals(planted, TARGET)
    assert found, "accepted"
    told = [(d.code.name, str(d.span), d.message) for d in found]
    assert any(d.code is REFUSED[name][1] for d in found), told
    assert any(d.code is REFUSED[name][1] and within(d.span, planted.span) for d in found), (
        planted.span,
        told,
    )


@pytest.mark.parametrize("name", ACCEPTED)
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_accepted(name: str) -> None:
    """The result, by the evaluator and by CPython."""
    body, wanted, *rest = ACCEPTED[name]
    source = program_text(body, globals_=f"{rest[0]}\n" if rest else "")
    planted = plant(source.replace("    n = len(skb)\n", "    «n = len(skb)»\n"))
    unit = analysed(planted, TARGET)
    seen = Evaluator(unit).run(unit.programs[0], Context(bytearray(PACKET), {"len": len(PACKET)}))
    assert seen == wanted
    if "bpf.array" not in body:
        assert _by_python(planted) == wanted


def _by_python(planted: Planted) -> int:
    program: Any = module_of(planted.source, planted.file).__dict__["program"]
    try:
        return int(program.__bpf__.function(Skb()))
    except (ArithmeticError, AssertionError, LookupError, ValueError):
        return 0
