/* XDP: drops IPv4 packets from the networks of a trie and counts them by network. */
#include "packet_headers.h"

struct network {
	__u32 prefixlen;
	__be32 address;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct network);
	__type(value, __u64);
} blocklist SEC(".maps");

SEC("xdp")
int xdp_lpm_drop(struct xdp_md *ctx)
{
	void *end = END(ctx);
	struct ethernet *eth = BEGIN(ctx);
	struct ipv4 *ip = (void *)(eth + 1);

	if ((void *)ip > end || eth->kind != KIND_IPV4 || (void *)(ip + 1) > end)
		return XDP_PASS;

	struct network key = { .prefixlen = 32, .address = ip->source };
	__u64 *hits = bpf_map_lookup_elem(&blocklist, &key);

	if (!hits)
		return XDP_PASS;
	__sync_fetch_and_add(hits, 1);
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
