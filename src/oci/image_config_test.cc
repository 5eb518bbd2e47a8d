#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "oci/image_spec.h"

namespace davit::oci {
namespace {

using Strings = std::vector<std::string>;

std::string testdata(std::string const& name) {
  std::ifstream file(std::string(DAVIT_TESTDATA) + "/image/" + name);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(ImageConfig, ReadsWhatDockerWrites) {
  auto const config = parse_image_config(testdata("docker_config.json"));
  ASSERT_TRUE(config.ok()) << config.error().to_string();
  EXPECT_EQ(config->platform.architecture, "amd64");
  EXPECT_EQ(config->created, "2026-11-21T20:03:17.795213776Z");
  EXPECT_EQ(config->config.cmd, (Strings{"python3", "/app/main.py"}));
  EXPECT_EQ(config->config.exposed_ports, Strings{"8000/tcp"});
  EXPECT_EQ(config->config.working_dir, "/app");
  EXPECT_TRUE(config->config.args_escaped);
  EXPECT_EQ(config->diff_ids.size(), 7u);
  EXPECT_EQ(config->history.size(), 10u);
  EXPECT_TRUE(config->history.back().empty_layer);
}

TEST(ImageConfig, PrintsWhatReadsBackTheSame) {
  auto const config = parse_image_config(testdata("docker_config.json"));
  std::string const printed = to_json(*config);
  auto const again = parse_image_config(printed);
  ASSERT_TRUE(again.ok()) << again.error().to_string();
  EXPECT_EQ(to_json(*again), printed);
  EXPECT_EQ(again->history.size(), 10u);
  EXPECT_EQ(again->diff_ids, config->diff_ids);
}

std::string const kAll = fmt::format(
    R"({{"created":"2020-01-01T00:00:00+02:00","author":"me","architecture":"arm","os":"linux","os.version":"1","os.features":["f"],)"
    R"("variant":"v7","comment":"c","container":"id","docker_version":"28.5","config":{{"User":"1:2","ExposedPorts":{{"80/tcp":{{}}}},)"
    R"("Env":["A=1"],"Entrypoint":["/e"],"Cmd":["c"],"Healthcheck":{{"Test":["CMD","t"],"Interval":1000000000,"Timeout":2,)"
    R"("StartPeriod":3,"StartInterval":4,"Retries":5}},"Volumes":{{"/v":{{}},"..":{{}}}},"WorkingDir":"/w","Labels":{{"l":"1"}},)"
    R"("StopSignal":"SIGTERM","ArgsEscaped":true,"OnBuild":["RUN x"],"Shell":["/bin/sh","-c"]}},)"
    R"("rootfs":{{"type":"layers","diff_ids":["sha256:{0:a>64}"]}},)"
    R"("history":[{{"created":"2020-01-01T00:00:00Z","created_by":"b","author":"me","comment":"c"}},{{"empty_layer":true}}]}})",
    "");

TEST(ImageConfig, KeepsEveryMember) {
  auto const config = parse_image_config(kAll);
  ASSERT_TRUE(config.ok()) << config.error().to_string();
  EXPECT_EQ(to_json(*config), kAll);
  EXPECT_EQ(config->config.healthcheck->interval_ns, 1000000000);
  EXPECT_EQ(config->config.volumes, (Strings{"/v", ".."}));
}

struct Case {
  std::string_view name;
  std::string text;
  bool ok = true;
};

class ConfigTable : public testing::TestWithParam<Case> {};

TEST_P(ConfigTable, IsAcceptedOrRefused) {
  auto const config = parse_image_config(GetParam().text);
  ASSERT_EQ(config.ok(), GetParam().ok) << (config.ok() ? "" : config.error().to_string());
  if (!config.ok()) {
    EXPECT_EQ(config.error().code(), Errc::kInvalidArgument);
  }
}

std::string with_config(std::string_view members) { return fmt::format(R"({{"config":{{{}}}}})", members); }

INSTANTIATE_TEST_SUITE_P(
    Odd, ConfigTable,
    testing::Values(
        Case{"empty", "{}"}, Case{"null_config", R"({"config":null,"rootfs":null,"history":null})"},
        Case{"null_lists", with_config(R"("Env":null,"Cmd":null,"Entrypoint":null,"Volumes":null,"OnBuild":null)")},
        Case{"null_elements", with_config(R"("Env":["A=1",null],"Labels":{"a":null})")},
        Case{"word_for_list", with_config(R"("Cmd":"sh","Entrypoint":"/x")")},
        Case{"ports_with_values", with_config(R"("ExposedPorts":{"80":1,"53/udp":null,"x":{"y":[]}})")},
        Case{"unused_of_any_type", with_config(R"("Memory":"many","Domainname":[],"Image":1,"Hostname":{})")},
        Case{"old_members", R"({"id":"x","parent":"y","container_config":{"Cmd":7},"Size":1.5})"},
        Case{"empty_healthcheck", with_config(R"("Healthcheck":{})")},
        Case{"negative_retries", with_config(R"("Healthcheck":{"Retries":-1,"Interval":-5})")},
        Case{"no_layers_type", R"({"rootfs":{"diff_ids":[]}})"}),
    [](auto const& info) { return std::string(info.param.name); });

INSTANTIATE_TEST_SUITE_P(
    Bad, ConfigTable,
    testing::Values(Case{"nothing", "", false}, Case{"null", "null", false}, Case{"list", "[]", false},
                    Case{"rootfs_type", R"({"rootfs":{"type":"layers+base"}})", false},
                    Case{"rootfs_list", R"({"rootfs":[]})", false},
                    Case{"diff_id", R"({"rootfs":{"diff_ids":["x"]}})", false},
                    Case{"null_diff_id", R"({"rootfs":{"diff_ids":[null]}})", false},
                    Case{"diff_ids_text", R"({"rootfs":{"diff_ids":"sha256:"}})", false},
                    Case{"env_number", with_config(R"("Env":[1])"), false},
                    Case{"env_nul", with_config(R"("Env":["A=\u0000"])"), false},
                    Case{"cmd_number", with_config(R"("Cmd":1)"), false},
                    Case{"user_number", with_config(R"("User":0)"), false},
                    Case{"ports_list", with_config(R"("ExposedPorts":["80/tcp"])"), false},
                    Case{"labels_list", with_config(R"("Labels":["a=b"])"), false},
                    Case{"interval_text", with_config(R"("Healthcheck":{"Interval":"30s"})"), false},
                    Case{"retries_large", with_config(R"("Healthcheck":{"Retries":99999999999})"), false},
                    Case{"history_number", R"({"history":[1]})", false}, Case{"os_number", R"({"os":1})", false},
                    Case{"too_long", std::string(std::size_t{9} << 20, ' '), false},
                    Case{"deep", R"({"x":)" + std::string(100000, '['), false}),
    [](auto const& info) { return std::string(info.param.name); });

TEST(ImageConfig, TakesAWordForAList) {
  EXPECT_EQ(parse_image_config(with_config(R"("Cmd":"sh")"))->config.cmd, Strings{"sh"});
}

TEST(ImageConfig, DropsAHistoryThatDoesNotFit) {
  std::string const rootfs = R"("rootfs":{"type":"layers","diff_ids":["sha256:)" + std::string(64, 'a') + R"("]})";
  auto const history_size = [&](std::string_view history) {
    auto const config = parse_image_config(fmt::format(R"({{{},"history":[{}]}})", rootfs, history));
    return config.ok() ? static_cast<int>(config->history.size()) : -1;
  };
  EXPECT_EQ(history_size(R"({"created_by":"x"})"), 1);
  EXPECT_EQ(history_size(R"({"created_by":"x"},{"empty_layer":true})"), 2);
  EXPECT_EQ(history_size(R"({"empty_layer":true})"), 0);
  EXPECT_EQ(history_size(R"({},{})"), 0);
  EXPECT_EQ(history_size(""), 0);
}

}  // namespace
}  // namespace davit::oci
