/* XDP: the Internet checksum over an IPv4 header, and over the 40 bytes of an IPv4 and a TCP header. */
#include "packet_headers.h"

#define IP_WORDS 10
#define ALL_WORDS 20

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} csum_stats SEC(".maps");

static __always_inline __u16 checksum(const __u16 *words, int count)
{
	__u32 total = 0;

	for (int i = 0; i < count; i++)
		total += words[i];
	total = (total & 0xffff) + (total >> 16);
	total = (total & 0xffff) + (total >> 16);
	return ~total;
}

SEC("xdp")
int xdp_csum40(struct xdp_md *ctx)
{
	struct ethernet *eth = BEGIN(ctx);
	__u16 *words = (__u16 *)(eth + 1);

	if ((void *)(words + ALL_WORDS) > END(ctx))
		return XDP_DROP;
	if (eth->kind != KIND_IPV4)
		return XDP_PASS;

	__u32 wrong = checksum(words, IP_WORDS) != 0;
	__u64 *sum = bpf_map_lookup_elem(&csum_stats, &wrong);

	if (sum)
		__sync_fetch_and_add(sum, checksum(words, ALL_WORDS));
	return wrong ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
