/* Socket filter: counts IPv4 packets by protocol and keeps none. */
#include "packet_headers.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u64);
} proto_count SEC(".maps");

SEC("socket")
int sock_proto_count(struct __sk_buff *skb)
{
	__be16 kind;
	__u8 protocol;

	if (bpf_skb_load_bytes(skb, 12, &kind, sizeof(kind)) || kind != KIND_IPV4)
		return 0;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + 9, &protocol, sizeof(protocol)))
		return 0;

	__u32 slot = protocol;
	__u64 *seen = bpf_map_lookup_elem(&proto_count, &slot);

	if (seen)
		__sync_fetch_and_add(seen, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
