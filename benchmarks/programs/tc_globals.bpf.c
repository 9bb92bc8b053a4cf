/* tc: settings and counters in global variables. */
#include "packet_headers.h"

#define SIZES 16
#define TC_ACT_OK 0
#define TC_ACT_SHOT 2

const volatile __u32 cfg_max_len = 9000;
const volatile __u8 cfg_drop_oversize = 1;
__u32 sample_rate = 16;

__u64 total_packets;
__u64 total_bytes;
__u64 sampled;
__u64 oversize;
__u64 by_size[SIZES];
__u32 last_ifindex;

SEC("tc")
int tc_globals(struct __sk_buff *skb)
{
	__u32 length = skb->len;

	total_packets++;
	total_bytes += length;
	last_ifindex = skb->ifindex;
	by_size[length / 64 % SIZES]++;
	if (sample_rate && total_packets % sample_rate == 0)
		sampled++;
	if (length > cfg_max_len) {
		oversize++;
		if (cfg_drop_oversize)
			return TC_ACT_SHOT;
	}
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";
