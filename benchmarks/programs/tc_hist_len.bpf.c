/* tc: a histogram of packet lengths with a slot for each power of two. */
#include "packet_headers.h"

#define SLOTS 32
#define TC_ACT_OK 0

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} hist SEC(".maps");

/* The floor of the binary logarithm; 0 for 0. Comparisons as numbers: clang makes less of them than of branches. */
static __always_inline __u32 log2(__u32 value)
{
	__u32 found = 0;

	for (int step = 4; step > 0; step--) {
		__u32 more = (__u32)(value >= 1u << (1 << step)) << step;

		value >>= more;
		found |= more;
	}
	return found | value >> 1;
}

SEC("tc")
int tc_hist_len(struct __sk_buff *skb)
{
	__u32 slot = log2(skb->len);
	__u64 *count = bpf_map_lookup_elem(&hist, &slot);

	if (count)
		*count += 1;
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";
