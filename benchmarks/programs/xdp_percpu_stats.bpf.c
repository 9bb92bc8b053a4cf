/* XDP: counts packets and bytes by verdict, on each CPU apart. */
#include "packet_headers.h"

struct record {
	__u64 rx_packets;
	__u64 rx_bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, XDP_REDIRECT + 1);
	__type(key, __u32);
	__type(value, struct record);
} xdp_stats_map SEC(".maps");

static __always_inline int record(struct xdp_md *ctx, __u32 verdict)
{
	struct record *counters = bpf_map_lookup_elem(&xdp_stats_map, &verdict);

	if (!counters)
		return XDP_ABORTED;
	counters->rx_packets += 1;
	counters->rx_bytes += ctx->data_end - ctx->data;
	return verdict;
}

SEC("xdp")
int xdp_percpu_stats(struct xdp_md *ctx)
{
	return record(ctx, XDP_PASS);
}

char LICENSE[] SEC("license") = "GPL";
