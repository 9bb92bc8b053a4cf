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

/* The floor of the binary logarithm; 0 for 0. */
static __always_inline __u32 log2(__u32 value)
{
	__u32 found = 0;

	for (int half = 16; half; half /= 2)
		if (value >> half) {
			value >>= half;
			found += half;
		}
	return found;
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
