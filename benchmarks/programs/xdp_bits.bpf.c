/* XDP: bit arithmetic over packet words (population count, byte swap, bit reversal, leading zeros). */
#include "packet_headers.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} out SEC(".maps");

static __always_inline __u64 population(__u64 word)
{
	word -= (word >> 1) & 0x5555555555555555;
	word = (word & 0x3333333333333333) + ((word >> 2) & 0x3333333333333333);
	word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0f;
	return (word * 0x0101010101010101) >> 56;
}

static __always_inline __u32 reverse_bits(__u32 word)
{
	word = ((word >> 1) & 0x55555555) | ((word & 0x55555555) << 1);
	word = ((word >> 2) & 0x33333333) | ((word & 0x33333333) << 2);
	word = ((word >> 4) & 0x0f0f0f0f) | ((word & 0x0f0f0f0f) << 4);
	return __builtin_bswap32(word);
}

static __always_inline __u32 leading_zeros(__u32 word)
{
	__u32 zeros = 0;

	if (!word)
		return 32;
	for (int half = 16; half; half /= 2)
		if (!(word >> (32 - half))) {
			word <<= half;
			zeros += half;
		}
	return zeros;
}

SEC("xdp")
int xdp_bits(struct xdp_md *ctx)
{
	__u64 *wide = BEGIN(ctx);
	__u32 *narrow = BEGIN(ctx);
	__u32 slot = 0;

	if ((void *)(wide + 4) > END(ctx))
		return XDP_DROP;

	__u64 ones = population(wide[0]) + population(wide[1]);
	__u64 mixed = bpf_be64_to_cpu(wide[2]) ^ bpf_be64_to_cpu(wide[3]) ^ reverse_bits(narrow[6]);
	__u64 leading = leading_zeros(bpf_ntohl(narrow[7]));
	__u64 *value = bpf_map_lookup_elem(&out, &slot);

	if (!value)
		return XDP_ABORTED;
	*value = mixed + (ones << 8) + leading;
	return (ones + leading) & 1 ? XDP_PASS : XDP_TX;
}

char LICENSE[] SEC("license") = "GPL";
