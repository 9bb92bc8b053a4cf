"""What each sample prints, as a regular expression, on the kernel and in the built-in machine alike."""

from __future__ import annotations

from pathlib import Path

SAMPLES = Path(__file__).resolve().parents[2] / "samples"

EXPECTED = {
    "hello_socket": r"sent 'Hello', received 'Hell'\n",
    "protocol_count": r"(TCP: \d+ packets\n)UDP: \d+ packets\n",
    "drop_foobar": "".join(
        f"sent '{word}', {'dropped' if 'foobar' in word else f'received {word!r}'}\n"
        for word in ("foo", "bar", "foobar", "fooba", "snafu", "ffoobarbaz", "bazbarfoo")
    ),
    "port_firewall": (
        r"TCP to 10\.99\.0\.2 port 2222: dropped\n"
        r"TCP to 10\.99\.0\.2 port 3333: reached\n"
        r"TCP to fd99::2 port 2222: dropped\n"
        r"TCP to fd99::2 port 3333: reached\n"
        r"(?=(.*\n)*10\.99\.0\.1: [1-9]\d* dropped\n)(?=(.*\n)*fd99::1: [1-9]\d* dropped\n)(.*\n){2}"
    ),
    "tc_mark": (
        r"port 7000: 'hello'\nport 7001: 'hello'\nport 7013: dropped\n"
        r"mark 0: \d+ packets\nmark 7: 1 packets\nmark 13: 1 packets\n"
    ),
    "lpm_block": r"10\.99\.0\.1: 'hello'\n10\.99\.0\.77: dropped\npassed [1-9]\d*, dropped [1-9]\d*\n",
    "packet_events": (
        r"(54|55) bytes to port \d+: b'good mor'\n50 bytes to port \d+: b'good day'\n"
        r"52 bytes to port \d+: b'good nig'\n0 events lost\n"
    ),
    "packet_sizes": (
        r"packet 1: 42 bytes\n(packet [2-5]: \d+ bytes\n){4}packet 6: 1442 bytes\n +bytes : count  distribution\n"
        r"(.* : [0-3] +\|\**( )*\|\n)+"
    ),
}
SUPPORT = {"lab", "frames", "tool"}
