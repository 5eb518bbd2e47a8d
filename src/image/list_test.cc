#include "image/local.h"
#include "image/testing/image_fixture.h"

namespace davit::image {
namespace {

using namespace testing;
using Names = std::vector<std::string>;

struct FilterCase {
  std::string name;
  Names filters;
  Names shown;  // the images' letters, newest first
};

class List : public ImageTest, public ::testing::WithParamInterface<FilterCase> {
 protected:
  // a, b, c, d one second apart, d the newest; d has no name, e only one with digest.
  void SetUp() override {
    ImageTest::SetUp();
    if (IsSkipped()) return;
    add('a', "2026-01-01T00:00:01Z", {{"iu", "1"}, {"x", "1"}}, {"unit/one:1"});
    add('b', "2026-01-01T00:00:02Z", {{"iu", "1"}, {"y", "1"}}, {"unit/two:2"});
    add('c', "2026-01-01T00:00:03Z", {{"iu", "1"}, {"x", "2"}, {"y", "1"}}, {"unit/sub/three:3"});
    add('d', "2026-01-01T00:00:04Z", {{"iu", "1"}}, {});
    add('e', "2026-01-01T00:00:05Z", {{"iu", "1"}}, {});
    store::Batch batch;
    batch.repo_digests.emplace_back(repo_digest("docker.io/unit/one", 'e'), ids_.at('e'));
    EXPECT_OK(store().publish(batch));
  }
  void add(char letter, std::string const& created, std::map<std::string, std::string> labels, Names const& tags) {
    std::string const tar = tar_of({{std::string(1, letter), "", ""}});
    oci::ImageConfig config;
    config.platform = oci::host_platform();
    config.created = created;
    config.config.labels = std::move(labels);
    config.diff_ids = {digest_of(tar)};
    auto const loaded =
        load_bytes(tar_of({{"l.tar", tar, ""},
                           {"c.json", oci::to_json(config), ""},
                           {"manifest.json", "[" + manifest_item("c.json", tags, {"l.tar"}) + "]", ""}}));
    EXPECT_OK(loaded);
    ids_.emplace(letter, loaded->front().id);
  }
  Names letters(std::vector<store::ImageEntry> const& entries) const {
    Names shown;
    for (store::ImageEntry const& entry : entries) {
      for (auto const& [letter, id] : ids_) {
        if (id == entry.image.id) shown.emplace_back(1, letter);
      }
    }
    return shown;
  }
  std::map<char, oci::Digest> ids_;
};

TEST_P(List, FollowsDocker) {
  ListFilter const filter = parse_list_filters(GetParam().filters, now_).value();
  EXPECT_EQ(letters(list(store(), filter).value()), GetParam().shown);
}

INSTANTIATE_TEST_SUITE_P(
    Table, List,
    ::testing::Values(
        FilterCase{"none", {}, {"e", "d", "c", "b", "a"}}, FilterCase{"label", {"label=x"}, {"c", "a"}},
        FilterCase{"labels_all_fit", {"label=x", "label=y"}, {"c"}},
        FilterCase{"label_with_value", {"label=x=1"}, {"a"}}, FilterCase{"not_label", {"label!=x"}, {"e", "d", "b"}},
        FilterCase{"reference_of_two_parts", {"reference=unit/*"}, {"e", "b", "a"}},
        FilterCase{"reference_of_three_parts", {"reference=unit/*/*"}, {"c"}},
        FilterCase{"reference_any_folder", {"reference=*/two"}, {"b"}},
        FilterCase{"reference_with_tag", {"reference=unit/one:1"}, {"a"}},
        FilterCase{"reference_with_any_tag", {"reference=unit/one:*"}, {"a"}},
        FilterCase{"reference_last_part", {"reference=one"}, {}},
        FilterCase{"reference_upper", {"reference=UNIT/one"}, {}},
        FilterCase{"reference_not_of_set", {"reference=unit/[^o]*"}, {"b"}},
        FilterCase{"references_any_fits", {"reference=unit/two", "reference=unit/sub/*"}, {"c", "b"}},
        FilterCase{"dangling", {"dangling=true"}, {"e", "d"}}, FilterCase{"dangling_one", {"dangling=1"}, {"e", "d"}},
        FilterCase{"not_dangling", {"dangling=false"}, {"e", "c", "b", "a"}},
        FilterCase{"dangling_and_reference", {"dangling=true", "reference=unit/two*"}, {}},
        FilterCase{"before", {"before=unit/two:2"}, {"a"}}, FilterCase{"since", {"since=unit/two:2"}, {"e", "d", "c"}},
        FilterCase{"before_several", {"before=unit/two:2", "before=unit/sub/three:3"}, {"a"}},
        FilterCase{"since_several", {"since=unit/one:1", "since=unit/two:2"}, {"e", "d", "c"}},
        FilterCase{"between", {"since=unit/one:1", "before=unit/sub/three:3"}, {"b"}},
        FilterCase{"until_time", {"until=2026-01-01T00:00:03Z"}, {"b", "a"}},
        FilterCase{"until_ago", {"until=1h"}, {"e", "d", "c", "b", "a"}},
        FilterCase{"until_seconds", {"until=1767225602"}, {"a"}},
        FilterCase{"until_several", {"until=1h", "until=2026-01-01T00:00:02Z"}, {"a"}}),
    [](auto const& info) { return info.param.name; });

class ListOne : public List {};

TEST_F(ListOne, ReferenceLeavesOutNamesThatDoNotFit) {
  EXPECT_OK(store().set_tag("docker.io/library/other:1", ids_.at('a')));
  ListFilter const filter = parse_list_filters({"reference=other"}, now_).value();
  std::vector<store::ImageEntry> const shown = list(store(), filter).value();
  ASSERT_EQ(shown.size(), 1U);
  EXPECT_EQ(shown[0].tags, Names{"docker.io/library/other:1"});
}

TEST_F(ListOne, BeforeAnImageThatIsNotThere) {
  EXPECT_EQ(code_of(list(store(), {.before = {"nosuch"}})), Errc::kNotFound);
}

TEST(ParseListFilters, RefusesWhatDockerRefuses) {
  for (Names const& filters : {Names{"foo=bar"}, Names{"foo"}, Names{"dangling=yes"}, Names{"dangling=T"},
                               Names{"dangling=true", "dangling=false"}, Names{"reference=[a"}, Names{"reference=a\\"},
                               Names{"until=bogus"}, Names{"until="}, Names{""}}) {
    EXPECT_EQ(code_of(parse_list_filters(filters, 0)), Errc::kInvalidArgument) << filters[0];
  }
}

class Find : public ListOne {};

TEST_F(Find, TakesNamesDigestsAndIds) {
  oci::Digest const& a = ids_.at('a');
  for (std::string const& word :
       {std::string("unit/one:1"), std::string("docker.io/unit/one:1"), a.text(), std::string(a.hex()),
        std::string(a.short_hex()), "sha256:" + std::string(a.hex().substr(0, 20))}) {
    Result<Found> const found = find(store(), word);
    ASSERT_TRUE(found.ok()) << word;
    EXPECT_EQ(found->entry.image.id, a) << word;
  }
  EXPECT_EQ(find(store(), repo_digest("unit/one", 'e')).value().entry.image.id, ids_.at('e'));
  EXPECT_EQ(find(store(), "unit/one:1").value().tag, "docker.io/unit/one:1");
  EXPECT_EQ(find(store(), a.text()).value().tag, "");
}

TEST_F(Find, PrefersANameToAnId) {
  oci::Digest const& a = ids_.at('a');
  std::string const prefix(a.hex().substr(0, 8));
  EXPECT_OK(store().set_tag("docker.io/library/" + prefix + ":latest", ids_.at('b')));
  EXPECT_EQ(find(store(), prefix).value().entry.image.id, ids_.at('b'));
  EXPECT_EQ(find(store(), a.hex()).value().entry.image.id, a);
}

TEST_F(Find, RefusesAPrefixOfSeveral) {
  // 17 more images: two of them begin with the same digit.
  for (char letter = 'f'; letter < 'w'; ++letter) add(letter, "2026-01-02T00:00:00Z", {}, {});
  std::map<char, int> first_digits;
  for (auto const& [letter, id] : ids_) ++first_digits[id.hex()[0]];
  for (auto const& [digit, count] : first_digits) {
    Result<Found> const found = find(store(), std::string(1, digit));
    if (count > 1) {
      EXPECT_EQ(code_of(found), Errc::kInvalidArgument);
    } else {
      EXPECT_TRUE(found.ok());
    }
  }
}

TEST_F(Find, HintsAtANearName) {
  Result<Found> const found = find(store(), "unit/one:2");
  EXPECT_EQ(code_of(found), Errc::kNotFound);
  EXPECT_NE(found.error().to_string().find("unit/one:1"), std::string::npos);
  EXPECT_OK(store().set_tag("docker.io/library/tiny:latest", ids_.at('a')));
  EXPECT_NE(find(store(), "tinny").error().to_string().find("tiny:latest"), std::string::npos);
  EXPECT_EQ(code_of(find(store(), "0123456789ab")), Errc::kNotFound);
  EXPECT_EQ(code_of(find(store(), "")), Errc::kInvalidArgument);
  EXPECT_EQ(code_of(find(store(), "a//b")), Errc::kInvalidArgument);
}

}  // namespace
}  // namespace davit::image
