// Platforms: "linux/arm64/v8" (OCI image-index.md), normalised and compared as Docker does. Any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace davit::oci {

struct Platform {
  std::string os = {};            // "linux"
  std::string architecture = {};  // GOARCH: "amd64"
  std::string variant = {};       // "v7"; "" for the default one
  std::string os_version = {};
  std::vector<std::string> os_features = {};
  bool operator==(Platform const&) const = default;
};

// "os", "arch", "os/arch", "os/arch/variant" as in --platform; missing parts from `host`. Aliases (x86_64, aarch64,
// armhf, i386, macos, ...) are normalised. kInvalidArgument names what is unknown.
Result<Platform> parse_platform(std::string_view text, Platform const& host);
Platform normalise(Platform platform);            // x86_64 to amd64, arm64/v8 to arm64, arm/ to arm/v7, ...
Platform host_platform();                         // of the running kernel (uname)
std::string to_string(Platform const& platform);  // "linux/arm64/v8"

// How well an image of platform `offered` runs where `wanted` is asked for: 0 not at all, higher is better. Fallbacks:
// arm/v7 runs v6 and v5; arm64 runs arm/v8, v7, ...; amd64/v3 runs v2 and v1; amd64 runs 386 only when `wanted` says so
// (never here).
int match_score(Platform const& wanted, Platform const& offered);

}  // namespace davit::oci
