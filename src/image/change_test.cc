#include "image/change.h"

#include <gtest/gtest.h>

#include "codec/json.h"

namespace davit::image {
namespace {

// The image config that holds nothing but `config`; "" for one that an instruction was refused for.
std::string after(std::vector<std::string> const& changes, oci::ContainerConfig config = {}) {
  for (std::string const& change : changes) {
    Result<void> const applied = apply_change(config, change);
    if (applied) continue;
    EXPECT_EQ(applied.error().code(), Errc::kInvalidArgument) << change;
    return "";
  }
  oci::ImageConfig image;
  image.config = config;
  std::string const text = oci::to_json(image);
  std::size_t const begin = text.find("\"config\":");
  if (begin == std::string::npos) return "{}";
  // The object from its brace to the one that closes it; the tests' values hold no braces.
  std::size_t at = begin + 9;
  int depth = 0;
  for (std::size_t i = at; i < text.size(); ++i) {
    depth += text[i] == '{' ? 1 : text[i] == '}' ? -1 : 0;
    if (depth == 0) return text.substr(at, i + 1 - at);
  }
  return text;
}

struct Case {
  std::string name;
  std::vector<std::string> changes;
  std::string config;  // what `docker import --change` of 28.5 gives; "" where it refuses
};

class ApplyChange : public testing::TestWithParam<Case> {};

TEST_P(ApplyChange, GivesWhatDockerGives) { EXPECT_EQ(after(GetParam().changes), GetParam().config); }

using Strings = std::vector<std::string>;
INSTANTIATE_TEST_SUITE_P(
    Commands, ApplyChange,
    testing::Values(Case{"cmd_exec", {R"(CMD ["a","b"])"}, R"({"Cmd":["a","b"]})"},
                    Case{"cmd_shell", {"CMD a b"}, R"({"Cmd":["/bin/sh","-c","a b"]})"},
                    Case{"cmd_cleared", {"CMD a", "CMD []"}, "{}"},
                    Case{"cmd_list_and_more", {R"(cmd  [ "a" ] x)"}, R"({"Cmd":["/bin/sh","-c","[ \"a\" ] x"]})"},
                    Case{"cmd_no_json", {"CMD [a]"}, R"({"Cmd":["/bin/sh","-c","[a]"]})"},
                    Case{"cmd_of_numbers", {"CMD [1]"}, ""},
                    Case{
                        "cmd_keeps_variables", {"ENV A=1", "CMD $A"}, R"({"Env":["A=1"],"Cmd":["/bin/sh","-c","$A"]})"},
                    Case{"entrypoint", {R"(ENTRYPOINT ["x"])"}, R"({"Entrypoint":["x"]})"},
                    Case{"onbuild", {"ONBUILD RUN x"}, R"({"OnBuild":["RUN x"]})"},
                    Case{"onbuild_from", {"ONBUILD FROM x"}, ""}, Case{"onbuild_onbuild", {"ONBUILD ONBUILD x"}, ""}),
    [](auto const& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Environment, ApplyChange,
    testing::Values(
        Case{"several", {"ENV A=1 B=2"}, R"({"Env":["A=1","B=2"]})"},
        Case{"old_form", {"ENV A 1 2"}, R"({"Env":["A=1 2"]})"},
        Case{"quotes", {R"(ENV A="x y" B=z\ w)"}, R"({"Env":["A=x y","B=z w"]})"},
        Case{"both_quotes", {R"(ENV A='x y' B="a\"b")"}, R"({"Env":["A=x y","B=a\"b"]})"},
        Case{"variables", {"ENV A=1", "ENV B=$A C=${A}x D=${Z:-d}"}, R"({"Env":["A=1","B=1","C=1x","D=d"]})"},
        Case{"of_one_line_see_what_was_before", {"ENV A=1", "ENV A=2 B=$A"}, R"({"Env":["A=2","B=1"]})"},
        Case{"unknown_variable", {"ENV A=$PATH:/x"}, R"({"Env":["A=:/x"]})"},
        Case{"replaced", {"ENV A=1", "ENV A=2"}, R"({"Env":["A=2"]})"},
        Case{"empty_value", {"ENV A="}, R"({"Env":["A="]})"}, Case{"no_value", {"ENV A"}, ""},
        Case{"no_name", {"ENV =x"}, ""}, Case{"not_closed", {R"(ENV A="unclosed)"}, ""}, Case{"nothing", {"ENV"}, ""},
        Case{"second_is_no_pair", {"ENV A=1 B"}, ""},
        Case{"plus", {"ENV A=1", "ENV B=${A:+x} C=${Z:+x}"}, R"({"Env":["A=1","B=x","C="]})"},
        Case{"single_quotes_keep", {"ENV A=1", "ENV B='$A'"}, R"({"Env":["A=1","B=$A"]})"},
        Case{"escaped_dollar", {"ENV A=1", R"(ENV B=\$A)"}, R"({"Env":["A=1","B=$A"]})"},
        Case{"nested", {"ENV A=1", "ENV B=${X:-${A}y}"}, R"({"Env":["A=1","B=1y"]})"},
        Case{"brace_not_closed", {"ENV B=${A"}, ""}, Case{"question", {"ENV B=${A:?why}"}, ""}),
    [](auto const& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Ports, ApplyChange,
    testing::Values(Case{"tcp", {"EXPOSE 80"}, R"({"ExposedPorts":{"80/tcp":{}}})"},
                    Case{"two", {"EXPOSE 80/udp 81"}, R"({"ExposedPorts":{"80/udp":{},"81/tcp":{}}})"},
                    Case{"range", {"EXPOSE 80-82"}, R"({"ExposedPorts":{"80/tcp":{},"81/tcp":{},"82/tcp":{}}})"},
                    Case{"upper_case", {"EXPOSE 80/TCP"}, R"({"ExposedPorts":{"80/tcp":{}}})"},
                    Case{"zero", {"EXPOSE 0"}, R"({"ExposedPorts":{"0/tcp":{}}})"},
                    Case{"published", {"EXPOSE 8080:80"}, R"({"ExposedPorts":{"80/tcp":{}}})"},
                    Case{"published_at", {"EXPOSE 127.0.0.1:80:81"}, R"({"ExposedPorts":{"81/tcp":{}}})"},
                    Case{"letters", {"EXPOSE abc"}, ""}, Case{"too_large", {"EXPOSE 70000"}, ""},
                    Case{"backwards", {"EXPOSE 82-80"}, ""}, Case{"protocol", {"EXPOSE 80/foo"}, ""},
                    Case{"nothing", {"EXPOSE"}, ""}),
    [](auto const& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Others, ApplyChange,
    testing::Values(
        Case{"label", {"LABEL a=b"}, R"({"Labels":{"a":"b"}})"},
        Case{"label_old", {"LABEL a b c"}, R"({"Labels":{"a":"b c"}})"},
        Case{"label_quoted", {R"(LABEL "a x"="b c")"}, R"({"Labels":{"a x":"b c"}})"},
        Case{"label_alone", {"LABEL a"}, ""}, Case{"user", {"USER x"}, R"({"User":"x"})"},
        Case{"user_with_blank", {"USER a b"}, R"({"User":"a b"})"}, Case{"user_missing", {"USER"}, ""},
        Case{"user_variable", {"ENV A=me", "USER $A"}, R"({"User":"me","Env":["A=me"]})"},
        Case{"workdir", {"WORKDIR /a"}, R"({"WorkingDir":"/a"})"},
        Case{"workdir_relative", {"WORKDIR a"}, R"({"WorkingDir":"/a"})"},
        Case{"workdir_twice", {"WORKDIR /a", "WORKDIR b"}, R"({"WorkingDir":"/a/b"})"},
        Case{"workdir_cleaned", {"WORKDIR /a/../b/"}, R"({"WorkingDir":"/b"})"},
        Case{"signal_number", {"STOPSIGNAL 9"}, R"({"StopSignal":"9"})"},
        Case{"signal_name", {"STOPSIGNAL SIGTERM"}, R"({"StopSignal":"SIGTERM"})"},
        Case{"signal_real_time", {"STOPSIGNAL SIGRTMIN+3"}, R"({"StopSignal":"SIGRTMIN+3"})"},
        Case{"signal_none", {"STOPSIGNAL bogus"}, ""}, Case{"signal_zero", {"STOPSIGNAL 0"}, ""},
        Case{"volumes", {"VOLUME /a /b"}, R"({"Volumes":{"/a":{},"/b":{}}})"},
        Case{"volumes_listed", {R"(VOLUME ["/a", "/b c"])"}, R"({"Volumes":{"/a":{},"/b c":{}}})"},
        Case{"volume_empty", {R"(VOLUME [""])"}, ""},
        Case{"health_none", {"HEALTHCHECK none"}, R"({"Healthcheck":{"Test":["NONE"]}})"},
        Case{"health_shell", {"HEALTHCHECK CMD x y"}, R"({"Healthcheck":{"Test":["CMD-SHELL","x y"]}})"},
        Case{"health_all",
             {R"(HEALTHCHECK --interval=5s --timeout=1m --start-period=2s --start-interval=1s --retries=3 CMD ["x"])"},
             R"({"Healthcheck":{"Test":["CMD","x"],"Interval":5000000000,"Timeout":60000000000,)"
             R"("StartPeriod":2000000000,"StartInterval":1000000000,"Retries":3}})"},
        Case{"health_flag", {"HEALTHCHECK --bad=1 CMD x"}, ""}, Case{"health_type", {"HEALTHCHECK FOO"}, ""},
        Case{"health_none_and_more", {"HEALTHCHECK NONE x"}, ""}, Case{"health_no_command", {"HEALTHCHECK CMD"}, ""},
        Case{"health_too_often", {"HEALTHCHECK --interval=1us CMD x"}, ""}, Case{"run", {"RUN x"}, ""},
        Case{"from", {"FROM x"}, ""}, Case{"unknown", {"FOO x"}, ""}, Case{"empty", {""}, ""},
        Case{"comment", {"# comment"}, ""}),
    [](auto const& info) { return info.param.name; });

}  // namespace
}  // namespace davit::image
