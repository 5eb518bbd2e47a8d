// {fmt}'s compiled part. Debian ships it as a shared library only, and the runtime is linked statically; the
// header-only mode would cost every file that formats 3 s more to compile (measured with fmt 9, -O0: 1.7 s against 5.1
// s).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wold-style-cast"
#include <fmt/format-inl.h>
#pragma GCC diagnostic pop

// The templates that <fmt/format.h> declares extern, or declares without a body. fmt 9: Debian 12; fmt 10: Debian 13.
FMT_BEGIN_NAMESPACE
namespace detail {
template auto thousands_sep_impl<char>(locale_ref) -> thousands_sep_result<char>;
template auto decimal_point_impl<char>(locale_ref) -> char;
template void buffer<char>::append<char>(char const*, char const*);
template auto dragonbox::to_decimal<float>(float) noexcept -> dragonbox::decimal_fp<float>;
template auto dragonbox::to_decimal<double>(double) noexcept -> dragonbox::decimal_fp<double>;
#if FMT_VERSION < 100000
template void vformat_to<char>(buffer<char>&, basic_string_view<char>, basic_format_args<FMT_BUFFER_CONTEXT(char)>,
                               locale_ref);
#else
template void vformat_to<char>(buffer<char>&, basic_string_view<char>, vformat_args<char>::type, locale_ref);
#endif
}  // namespace detail
FMT_END_NAMESPACE
