// What the sources here need of a BPF library and of the kernel's types: declared too small and in the wrong order, so
// that nothing works without being relocated.
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define weak __attribute__((weak))
#define relocatable __attribute__((preserve_access_index))
#define kconfig __attribute__((section(".kconfig")))
#define ksym __attribute__((section(".ksyms")))

enum { BYTE_OFFSET, BYTE_SIZE, EXISTS, SIGNED, LSHIFT, RSHIFT };
#define info(field, what) __builtin_preserve_field_info(field, what)
#define offset(field) ((u64)__builtin_preserve_access_index(&(field)))
#define exists(type) __builtin_preserve_type_info(*(type *)0, 0)
#define size_of_type(type) __builtin_preserve_type_info(*(type *)0, 1)
#define local_id(type) __builtin_btf_type_id(*(type *)0, 0)
#define target_id(type) __builtin_btf_type_id(*(type *)0, 1)
#define has_value(type, value) __builtin_preserve_enum_value(*(type *)value, 0)
#define value_of(type, value) __builtin_preserve_enum_value(*(type *)value, 1)

static long (*probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static u64 (*current_task)(void) = (void *)35;

char LICENSE[] SEC("license") = "GPL";
