"""The shape of ``union bpf_attr``: offsets as in linux/bpf.h, and how much of a structure is passed."""

from __future__ import annotations

import ctypes

import pytest

from pyebpf.runtime import attrs, syscall

OFFSETS: dict[type[ctypes.Structure], str] = {
    attrs.MapCreate: """map_type 0 key_size 4 value_size 8 max_entries 12 map_flags 16 inner_map_fd 20
        numa_node 24
        map_name 28 map_ifindex 44 btf_fd 48 btf_key_type_id 52 btf_value_type_id 56
        btf_vmlinux_value_type_id 60
        map_extra 64 value_type_btf_obj_fd 72 map_token_fd 76 excl_prog_hash 80
        excl_prog_hash_size 88""",
    attrs.MapElem: "map_fd 0 pad 4 key 8 value 16 flags 24",
    attrs.MapBatch: """in_batch 0 out_batch 8 keys 16 values 24 count 32 map_fd 36 elem_flags 40 flags 48""",
    attrs.ProgLoad: """prog_type 0 insn_cnt 4 insns 8 license 16 log_level 24 log_size 28 log_buf 32
        kern_version 40
        prog_flags 44 prog_name 48 prog_ifindex 64 expected_attach_type 68 prog_btf_fd 72
        func_info_rec_size 76
        func_info 80 func_info_cnt 88 line_info_rec_size 92 line_info 96 line_info_cnt 104
        attach_btf_id 108
        attach_btf_obj_fd 112 core_relo_cnt 116 fd_array 120 core_relos 128 core_relo_rec_size 136
        log_true_size 140 prog_token_fd 144 fd_array_cnt 148 signature 152 signature_size 160
        keyring_id 164""",
    attrs.ObjPin: "pathname 0 bpf_fd 8 file_flags 12 path_fd 16",
    attrs.ProgAttach: """target_fd 0 attach_bpf_fd 4 attach_type 8 attach_flags 12 replace_bpf_fd 16
        relative_fd 20
        expected_revision 24""",
    attrs.ProgRun: """prog_fd 0 retval 4 data_size_in 8 data_size_out 12 data_in 16 data_out 24 repeat 32
        duration 36 ctx_size_in 40 ctx_size_out 44 ctx_in 48 ctx_out 56 flags 64 cpu 68 batch_size 72""",
    attrs.GetId: "id 0 next_id 4 open_flags 8",
    attrs.InfoByFd: "bpf_fd 0 info_len 4 info 8",
    attrs.BtfLoad: """btf 0 btf_log_buf 8 btf_size 16 btf_log_size 20 btf_log_level 24 btf_log_true_size 28
        btf_flags 32 btf_token_fd 36""",
    attrs.LinkCreate: "prog_fd 0 target_fd 4 attach_type 8 flags 12 tcx 16 tracing 16 perf_event_cookie 16",
    attrs.LinkCreateTcx: "relative_fd 0 expected_revision 8",
    attrs.LinkCreateTracing: "target_btf_id 0 cookie 8",
    attrs.LinkUpdate: "link_fd 0 new_prog_fd 4 flags 8 old_prog_fd 12",
    attrs.LinkDetach: "link_fd 0",
    attrs.EnableStats: "type 0",
    attrs.ProgInfo: """type 0 id 4 tag 8 jited_prog_len 16 xlated_prog_len 20 load_time 40 created_by_uid 48
        nr_map_ids 52 map_ids 56 name 64 netns_dev 88 btf_id 128 run_time_ns 192 run_cnt 200
        recursion_misses 208
        verified_insns 216 attach_btf_obj_id 220 attach_btf_id 224""",
    attrs.MapInfo: """type 0 id 4 key_size 8 value_size 12 max_entries 16 map_flags 20 name 24 ifindex 40
        btf_vmlinux_value_type_id 44 netns_dev 48 netns_ino 56 btf_id 64 btf_key_type_id 68
        btf_value_type_id 72
        map_extra 80""",
    attrs.BtfInfo: "btf 0 btf_size 8 id 12 name 16 name_len 24 kernel_btf 28",
    attrs.LinkInfo: "type 0 id 4 prog_id 8 target 16 attach_type 20",
}
SIZES = {attrs.MapElem: 32, attrs.MapBatch: 56, attrs.ProgLoad: 168, attrs.ProgInfo: 232, attrs.MapInfo: 88}


@pytest.mark.parametrize("struct", OFFSETS, ids=lambda struct: struct.__name__)
def test_fields_lie_where_the_kernel_has_them(struct: type[ctypes.Structure]) -> None:
    words = OFFSETS[struct].split()
    expected = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    assert {name: getattr(struct, name).offset for name in expected} == expected
    assert ctypes.sizeof(struct) >= max(expected.values()) + 4
    if struct in SIZES:
        assert ctypes.sizeof(struct) == SIZES[struct]


@pytest.mark.parametrize(
    ("attr", "size"),
    [
        (attrs.MapCreate(), 0),
        (attrs.MapCreate(map_type=1), 8),
        (attrs.MapCreate(map_name=b"x"), 32),
        (attrs.MapCreate(map_extra=1), 72),
        (attrs.MapCreate(excl_prog_hash_size=1), 96),
        (attrs.ProgLoad(prog_type=1), 144),
        (attrs.ProgLoad(fd_array_cnt=1), 152),
        (attrs.LinkDetach(link_fd=300), 4),
        (attrs.EnableStats(), 4),
        (attrs.MapBatch(), 36),
    ],
)
def test_the_shortest_prefix_with_all_that_is_set_is_passed(attr: attrs.Attr, size: int) -> None:
    assert syscall._size(attr) == size
