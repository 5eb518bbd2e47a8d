#include "oci/image_spec.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "codec/base64.h"
#include "codec/hash.h"

namespace davit::oci {
namespace {

std::string testdata(std::string const& name) {
  std::ifstream file(std::string(DAVIT_TESTDATA) + "/image/" + name);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string digest_of(char digit) { return "sha256:" + std::string(64, digit); }

std::string descriptor(std::string_view type, char digit = 'a', std::string_view more = "") {
  return fmt::format(R"({{"mediaType":"{}","digest":"{}","size":10{}}})", type, digest_of(digit), more);
}

std::string const kConfigText = descriptor(kOciConfig);
std::string const kLayerText = descriptor(kOciLayerGzip, 'b');
std::string const kEntryText = descriptor(kOciManifest, 'c');

std::string manifest_text(std::string_view layers, std::string_view more = "") {
  return fmt::format(R"({{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]{}}})", kOciManifest, kConfigText,
                     layers, more);
}

std::string index_text(std::string_view manifests, std::string_view more = "") {
  return fmt::format(R"({{"schemaVersion":2,"mediaType":"{}","manifests":[{}]{}}})", kOciIndex, manifests, more);
}

TEST(ManifestParse, ReadsAndPrintsWhatDockerWrites) {
  std::string const text = testdata("oci_manifest.json");
  auto const parsed = parse_manifest(text, kOciManifest);
  ASSERT_TRUE(parsed.ok()) << parsed.error().to_string();
  Manifest const& manifest = std::get<Manifest>(parsed->content);
  EXPECT_EQ(manifest.layers.size(), 7u);
  EXPECT_EQ(manifest.layers[0].size, 55861664u);
  EXPECT_FALSE(is_artifact(manifest));
  EXPECT_EQ(to_json(manifest), text);
}

TEST(IndexParse, ReadsAndPrintsWhatBuildkitWrites) {
  std::string const text = testdata("index_with_attestations.json");
  auto const parsed = parse_manifest(text, "");
  ASSERT_TRUE(parsed.ok()) << parsed.error().to_string();
  Index const& index = std::get<Index>(parsed->content);
  ASSERT_EQ(index.manifests.size(), 4u);
  EXPECT_TRUE(is_attestation(index.manifests[3]));
  EXPECT_FALSE(is_attestation(index.manifests[0]));
  EXPECT_EQ(to_json(index), text);
}

TEST(ManifestParse, KeepsEveryPart) {
  std::string const data = R"(,"urls":["https://x/y"],"annotations":{"k":"v"},"data":"e30=","artifactType":"a/b")";
  std::string const config =
      fmt::format(R"({{"mediaType":"{}","digest":"sha256:{}","size":2{}}})", kOciEmpty, codec::sha256_hex("{}"), data);
  std::string const text = fmt::format(
      R"({{"schemaVersion":2,"mediaType":"{}","artifactType":"x/y","config":{},"layers":[],"subject":{},"annotations":{{"a":"1","b":"2"}}}})",
      kOciManifest, config, kEntryText);
  auto const parsed = parse_manifest(text, "");
  ASSERT_TRUE(parsed.ok()) << parsed.error().to_string();
  Manifest const& manifest = std::get<Manifest>(parsed->content);
  EXPECT_EQ(manifest.config.data, "{}");
  EXPECT_EQ(manifest.subject->digest.text(), digest_of('c'));
  EXPECT_TRUE(is_artifact(manifest));
  EXPECT_EQ(to_json(manifest), text);
}

struct Case {
  std::string_view name;
  std::string text;
  std::string content_type;
  bool ok = true;
};

class ManifestTable : public testing::TestWithParam<Case> {};

TEST_P(ManifestTable, IsAcceptedOrRefused) {
  auto const parsed = parse_manifest(GetParam().text, GetParam().content_type);
  ASSERT_EQ(parsed.ok(), GetParam().ok) << (parsed.ok() ? "" : parsed.error().to_string());
  if (!parsed.ok()) {
    EXPECT_EQ(parsed.error().code(), Errc::kInvalidArgument);
    EXPECT_LT(parsed.error().message().size(), 500u);
  }
}

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

std::string repeated(std::string const& item, std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += (i == 0 ? "" : ",") + item;
  return out;
}

std::string bad_layer(std::string_view members) { return manifest_text(fmt::format("{{{}}}", members)); }

std::string sized(std::string_view size) {
  return bad_layer(fmt::format(R"("mediaType":"{}","digest":"{}","size":{})", kOciLayer, digest_of('b'), size));
}

std::string with_data(std::string_view size, std::string_view data) {
  return bad_layer(fmt::format(R"("mediaType":"{}","digest":"sha256:{}","size":{},"data":"{}")", kOciLayer,
                               codec::sha256_hex("hello"), size, data));
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, ManifestTable,
    testing::Values(
        Case{"manifest", manifest_text(kLayerText), std::string(kOciManifest)},
        Case{"manifest_of_unknown_delivery", manifest_text(kLayerText), "application/json"},
        Case{"delivery_with_parameters", manifest_text(kLayerText), std::string(kOciManifest) + "; charset=utf-8"},
        Case{"delivery_in_upper_case", manifest_text(kLayerText), "Application/vnd.OCI.image.manifest.v1+JSON"},
        Case{"no_layers", manifest_text(""), ""},
        Case{"null_layers", fmt::format(R"({{"schemaVersion":2,"config":{},"layers":null}})", kConfigText), ""},
        Case{"shape_alone", fmt::format(R"({{"schemaVersion":2,"config":{},"layers":[]}})", kConfigText), ""},
        Case{"index", index_text(kEntryText), std::string(kOciIndex)}, Case{"empty_index", index_text(""), ""},
        Case{"index_by_shape", fmt::format(R"({{"schemaVersion":2,"manifests":[{}]}})", kEntryText), ""},
        Case{"null_manifests", R"({"schemaVersion":2,"manifests":null})", std::string(kDockerList)},
        Case{"unknown_members", manifest_text(kLayerText, R"(,"x":{"y":[1,null]})"), ""},
        Case{"later_key_wins", R"({"schemaVersion":1,)" + manifest_text(kLayerText).substr(1), ""},
        Case{"delivered_as_other_kind", manifest_text(kLayerText), std::string(kOciIndex), false},
        Case{"delivered_as_other_format", manifest_text(kLayerText), std::string(kDockerManifest), false},
        Case{"index_delivered_as_manifest", fmt::format(R"({{"schemaVersion":2,"manifests":[{}]}})", kEntryText),
             std::string(kOciManifest), false},
        Case{"both", manifest_text(kLayerText, R"(,"manifests":[])"), "", false},
        Case{"both_in_index", index_text(kEntryText, R"(,"layers":[])"), "", false},
        Case{"config_in_index", index_text(kEntryText, R"(,"config":{})"), "", false},
        Case{"fs_layers", manifest_text(kLayerText, R"(,"fsLayers":[])"), "", false},
        Case{"artifact_manifest", R"({"schemaVersion":2,"mediaType":"application/vnd.oci.artifact.manifest.v1+json"})",
             "", false},
        Case{"schema1", R"({"schemaVersion":1,"name":"a","fsLayers":[]})", "", false},
        Case{"schema1_by_type", manifest_text(kLayerText), "application/vnd.docker.distribution.manifest.v1+prettyjws",
             false},
        Case{"schema3", R"({"schemaVersion":3,"manifests":[]})", "", false},
        Case{"schema_text", R"({"schemaVersion":"2","manifests":[]})", "", false},
        Case{"no_schema", R"({"manifests":[]})", "", false},
        Case{"no_config", R"({"schemaVersion":2,"layers":[]})", "", false}, Case{"nothing", "", "", false},
        Case{"null", "null", "", false}, Case{"array", "[]", "", false}, Case{"text", "\"x\"", "", false},
        Case{"html", "<html>", "", false}, Case{"two_values", manifest_text("") + "{}", "", false}),
    [](auto const& info) { return std::string(info.param.name); });

INSTANTIATE_TEST_SUITE_P(
    Hostile, ManifestTable,
    testing::Values(
        Case{"largest_size", sized("9223372036854775807"), ""},
        Case{"size_past_2_63", sized("9223372036854775808"), "", false},
        Case{"size_past_2_64", sized("99999999999999999999999999"), "", false},
        Case{"negative_size", sized("-1"), "", false}, Case{"fraction", sized("1.5"), "", false},
        Case{"exponent", sized("1e400"), "", false}, Case{"text_size", sized("\"10\""), "", false},
        Case{"null_size", sized("null"), "", false},
        Case{"no_digest", bad_layer(R"("mediaType":"a","size":1)"), "", false},
        Case{"no_media_type", bad_layer(fmt::format(R"("digest":"{}","size":1)", digest_of('b'))), "", false},
        Case{"path_for_digest", bad_layer(R"("mediaType":"a","size":1,"digest":"sha256:../../etc/passwd")"), "", false},
        Case{"list_for_digest", bad_layer(R"("mediaType":"a","size":1,"digest":[])"), "", false},
        Case{"null_layer", manifest_text("null"), "", false}, Case{"number_layer", manifest_text("1"), "", false},
        Case{"layers_object", fmt::format(R"({{"schemaVersion":2,"config":{},"layers":{{}}}})", kConfigText), "",
             false},
        Case{"thousand_layers", manifest_text(repeated(kLayerText, 1024)), ""},
        Case{"ten_thousand_layers", manifest_text(repeated(kLayerText, 10000)), "", false},
        Case{"ten_thousand_entries", index_text(repeated(kEntryText, 10000)), ""},
        Case{"too_many_entries", index_text(repeated(kEntryText, 10001)), "", false},
        Case{"too_long", std::string(std::size_t{9} << 20, ' '), "", false},
        Case{"deep", manifest_text(kLayerText, R"(,"x":)" + nested(100000)), "", false},
        Case{"deep_objects", std::string(100000, '{'), "", false},
        Case{"invalid_utf8", manifest_text(kLayerText, ",\"x\":\"\xff\""), "", false},
        Case{"nul_in_annotation", manifest_text(kLayerText, R"(,"annotations":{"a":"\u0000"})"), "", false},
        Case{"number_annotation", manifest_text(kLayerText, R"(,"annotations":{"a":1})"), "", false},
        Case{"bad_subject", manifest_text(kLayerText, R"(,"subject":{})"), "", false},
        Case{"platform_text", index_text(descriptor(kOciManifest, 'a', R"(,"platform":"linux/amd64")")), "", false},
        Case{"data", with_data("5", codec::base64_encode("hello")), ""},
        Case{"data_of_other_size", with_data("6", codec::base64_encode("hello")), "", false},
        Case{"data_of_other_content", with_data("5", codec::base64_encode("hullo")), "", false},
        Case{"data_not_base64", with_data("5", "!!!!"), "", false}),
    [](auto const& info) { return std::string(info.param.name); });

TEST(ManifestParse, SaysWhySchema1IsRefused) {
  auto const parsed = parse_manifest(R"({"schemaVersion":1})", "");
  ASSERT_FALSE(parsed.ok());
  EXPECT_NE(parsed.error().message().find("schema 1"), std::string::npos);
}

struct LayerCase {
  std::string_view name, media_type;
  std::optional<codec::Compression> compression;
  bool foreign = false;
};

class LayerType : public testing::TestWithParam<LayerCase> {};

TEST_P(LayerType, SaysTheCompression) {
  auto const found = layer_compression(GetParam().media_type);
  ASSERT_EQ(found.ok(), GetParam().compression.has_value());
  if (found.ok()) {
    EXPECT_EQ(*found, *GetParam().compression);
  }
  EXPECT_EQ(is_foreign_layer(GetParam().media_type), GetParam().foreign);
}

using codec::Compression;
INSTANTIATE_TEST_SUITE_P(
    Table, LayerType,
    testing::Values(LayerCase{"oci", kOciLayer, Compression::kNone},
                    LayerCase{"oci_gzip", kOciLayerGzip, Compression::kGzip},
                    LayerCase{"oci_zstd", kOciLayerZstd, Compression::kZstd},
                    LayerCase{"docker", kDockerLayer, Compression::kNone},
                    LayerCase{"docker_gzip", kDockerLayerGzip, Compression::kGzip},
                    LayerCase{"docker_zstd", "application/vnd.docker.image.rootfs.diff.tar.zstd", Compression::kZstd},
                    LayerCase{"foreign_oci", "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
                              Compression::kZstd, true},
                    LayerCase{"foreign_docker", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                              Compression::kGzip, true},
                    LayerCase{"encrypted", "application/vnd.oci.image.layer.v1.tar+gzip+encrypted", std::nullopt},
                    LayerCase{"unknown_compression", "application/vnd.oci.image.layer.v1.tar+lz4", std::nullopt},
                    LayerCase{"attestation", "application/vnd.in-toto+json", std::nullopt},
                    LayerCase{"chart", "application/vnd.cncf.helm.chart.content.v1.tar+gzip", std::nullopt},
                    LayerCase{"empty", "", std::nullopt}),
    [](auto const& info) { return std::string(info.param.name); });

struct ArtifactCase {
  std::string_view name, config_type, artifact_type;
  bool artifact;
};

class ArtifactTable : public testing::TestWithParam<ArtifactCase> {};

TEST_P(ArtifactTable, IsToldByTheConfigsType) {
  auto parsed = parse_manifest(manifest_text(kLayerText), "");
  Manifest& manifest = std::get<Manifest>(parsed->content);
  manifest.config.media_type = GetParam().config_type;
  manifest.artifact_type = GetParam().artifact_type;
  EXPECT_EQ(is_artifact(manifest), GetParam().artifact);
}

INSTANTIATE_TEST_SUITE_P(Table, ArtifactTable,
                         testing::Values(ArtifactCase{"oci", kOciConfig, "", false},
                                         ArtifactCase{"docker", kDockerConfig, "", false},
                                         ArtifactCase{"old_registry", "application/octet-stream", "", false},
                                         ArtifactCase{"bytes_with_type", "application/octet-stream", "a/b", true},
                                         ArtifactCase{"empty", kOciEmpty, "a/b", true},
                                         ArtifactCase{"chart", "application/vnd.cncf.helm.config.v1+json", "", true},
                                         ArtifactCase{"plugin", "application/vnd.docker.plugin.v1+json", "", true}),
                         [](auto const& info) { return std::string(info.param.name); });

// An index of entries "os/arch/variant" (digits of the digests 0, 1, ...), "" for none, "!" for an attestation, "?" for
// an artifact.
Index index_of(std::vector<std::string_view> const& platforms) {
  std::string entries;
  char digit = '0';
  for (std::string_view const text : platforms) {
    std::string more;
    if (text == "!") {
      more = R"(,"annotations":{"vnd.docker.reference.type":"attestation-manifest"})";
    } else if (text == "?") {
      more = R"(,"artifactType":"a/b")";
    } else if (!text.empty()) {
      Platform const platform = *parse_platform(text, {});
      more = fmt::format(R"(,"platform":{{"os":"{}","architecture":"{}","variant":"{}"}})", platform.os,
                         platform.architecture, platform.variant);
    }
    entries += (entries.empty() ? "" : ",") + descriptor(kOciManifest, digit++, more);
  }
  auto parsed = parse_manifest(index_text(entries), "");
  return std::get<Index>(std::move(parsed->content));
}

struct SelectCase {
  std::string_view name;
  std::vector<std::string_view> offers;
  std::string_view wanted;
  int chosen;  // -1: none
};

class PlatformSelect : public testing::TestWithParam<SelectCase> {};

TEST_P(PlatformSelect, TakesTheBestThatRuns) {
  Index const index = index_of(GetParam().offers);
  Descriptor const* chosen = select_platform(index, *parse_platform(GetParam().wanted, {}));
  EXPECT_EQ(chosen == nullptr ? -1 : static_cast<int>(chosen - index.manifests.data()), GetParam().chosen);
}

INSTANTIATE_TEST_SUITE_P(
    Table, PlatformSelect,
    testing::Values(SelectCase{"exact", {"linux/arm64", "linux/amd64"}, "linux/amd64", 1},
                    SelectCase{"variant", {"linux/amd64", "linux/amd64/v2", "linux/amd64/v3"}, "linux/amd64/v2", 1},
                    SelectCase{"variant_fallback", {"linux/amd64", "linux/amd64/v2"}, "linux/amd64/v4", 1},
                    SelectCase{"arm_fallback", {"linux/arm/v5", "linux/arm/v6"}, "linux/arm/v7", 1},
                    SelectCase{"arm64_takes_arm", {"linux/amd64", "linux/arm/v6", "linux/arm/v7"}, "linux/arm64", 2},
                    SelectCase{"arm64_first", {"linux/arm/v7", "linux/arm64/v8"}, "linux/arm64", 1},
                    SelectCase{"first_of_equals", {"linux/amd64", "linux/amd64"}, "linux/amd64", 0},
                    SelectCase{"none_named", {"", "linux/arm64"}, "linux/amd64", 0},
                    SelectCase{"named_before_unnamed", {"", "linux/amd64"}, "linux/amd64", 1},
                    SelectCase{"attestation", {"!", "?"}, "linux/amd64", -1},
                    SelectCase{"none_fits", {"linux/arm64", "windows/amd64"}, "linux/amd64", -1},
                    SelectCase{"too_new", {"linux/amd64/v3"}, "linux/amd64", -1},
                    SelectCase{"empty", {}, "linux/amd64", -1}),
    [](auto const& info) { return std::string(info.param.name); });

TEST(ChainIds, AreThoseOfTheSpecification) {
  EXPECT_TRUE(chain_ids({}).empty());
  Digest const a = Digest::sha256(std::string(64, 'a'));
  Digest const b = Digest::sha256(std::string(64, 'b'));
  auto const chain = chain_ids({a, b});
  EXPECT_EQ(chain[0], a);
  EXPECT_EQ(chain[1], Digest::sha256(codec::sha256_hex(a.text() + " " + b.text())));
}

}  // namespace
}  // namespace davit::oci
