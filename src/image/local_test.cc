#include "image/local.h"

#include "image/testing/image_fixture.h"

namespace davit::image {
namespace {

using namespace testing;
using Names = std::vector<std::string>;

constexpr char kLocal[] = "docker.io/library/";

struct Step {
  std::string word;  // "ID": the id, "SHORT": its first 12 digits
  bool force = false;
  Use use = Use::kNone;
  // What dockerd 28.5 answers: the names that go, and whether the image does. Refused when nothing goes.
  Names untagged;
  bool deleted = false;
};

struct RemoveCase {
  std::string name;
  Names tags, repo_digests;
  std::vector<Step> steps;
};

std::string const kDigestP = repo_digest("reg:5000/p", 'a');
std::string const kDigestQ = repo_digest("reg:5000/q", 'b');

class Remove : public ImageTest, public ::testing::WithParamInterface<RemoveCase> {};

TEST_P(Remove, FollowsDocker) {
  RemoveCase const& row = GetParam();
  oci::Digest const id = add_image("x", row.tags, row.repo_digests);
  for (Step const& step : row.steps) {
    SCOPED_TRACE(step.word);
    std::string const word = step.word == "ID"      ? id.text()
                             : step.word == "SHORT" ? std::string(id.short_hex())
                                                    : step.word;
    RemoveOptions options{.force = step.force, .user = [&](oci::Digest const& asked) {
                            EXPECT_EQ(asked, id);
                            return User{.use = step.use, .container = "abc"};
                          }};
    Result<Removal> const removal = remove(store(), word, options);
    if (step.untagged.empty() && !step.deleted) {
      EXPECT_EQ(code_of(removal), Errc::kConflict);
      continue;
    }
    ASSERT_OK_RESULT(removal);
    EXPECT_EQ(removal->untagged, step.untagged);
    EXPECT_EQ(removal->deleted.empty(), !step.deleted);
    if (step.deleted) {
      ASSERT_EQ(removal->deleted.size(), 2U);
      EXPECT_EQ(removal->deleted[0], id.text());
      EXPECT_GT(removal->freed_bytes, 0U);
    }
    EXPECT_EQ(store().find_image(id).value().has_value(), !step.deleted);
    EXPECT_EQ(store().list_layers().value().empty(), step.deleted);
  }
  expect_clean();
}

INSTANTIATE_TEST_SUITE_P(
    ByName, Remove,
    ::testing::Values(
        RemoveCase{"only_name", {"a:1"}, {}, {{.word = "a:1", .untagged = {"a:1"}, .deleted = true}}},
        RemoveCase{"two_tags_of_one_repository",
                   {"a:1", "a:2"},
                   {},
                   {{.word = "a:1", .untagged = {"a:1"}}, {.word = "a:2", .untagged = {"a:2"}, .deleted = true}}},
        RemoveCase{"two_repositories",
                   {"a:1", "b:1"},
                   {},
                   {{.word = "a:1", .untagged = {"a:1"}}, {.word = "b:1", .untagged = {"b:1"}, .deleted = true}}},
        RemoveCase{
            "force_takes_one_name_only", {"a:1", "b:1"}, {}, {{.word = "a:1", .force = true, .untagged = {"a:1"}}}},
        RemoveCase{"digest_goes_with_last_tag",
                   {"reg:5000/p:1"},
                   {kDigestP},
                   {{.word = "reg:5000/p:1", .untagged = {"reg:5000/p:1", kDigestP}, .deleted = true}}},
        RemoveCase{"digest_stays_with_other_tag",
                   {"reg:5000/p:1", "reg:5000/p:2"},
                   {kDigestP},
                   {{.word = "reg:5000/p:1", .untagged = {"reg:5000/p:1"}},
                    {.word = "reg:5000/p:2", .untagged = {"reg:5000/p:2", kDigestP}, .deleted = true}}},
        RemoveCase{"digests_of_two_repositories",
                   {"reg:5000/p:1", "reg:5000/q:1"},
                   {kDigestP, kDigestQ},
                   {{.word = "reg:5000/p:1", .untagged = {"reg:5000/p:1", kDigestP}},
                    {.word = "reg:5000/q:1", .untagged = {"reg:5000/q:1", kDigestQ}, .deleted = true}}},
        RemoveCase{"by_digest_keeps_tag",
                   {"reg:5000/p:1"},
                   {kDigestP},
                   {{.word = kDigestP, .untagged = {kDigestP}},
                    {.word = "reg:5000/p:1", .untagged = {"reg:5000/p:1"}, .deleted = true}}},
        RemoveCase{"by_only_digest", {}, {kDigestP}, {{.word = kDigestP, .untagged = {kDigestP}, .deleted = true}}},
        RemoveCase{"local_name_beside_pushed_one",
                   {"a:1", "reg:5000/p:1"},
                   {kDigestP},
                   {{.word = "a:1", .untagged = {"a:1"}}}},
        RemoveCase{"pushed_name_beside_local_one",
                   {"a:1", "reg:5000/p:1"},
                   {kDigestP},
                   {{.word = "reg:5000/p:1", .untagged = {"reg:5000/p:1", kDigestP}}}}),
    [](auto const& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    ById, Remove,
    ::testing::Values(
        RemoveCase{"one_name", {"a:1"}, {}, {{.word = "ID", .untagged = {"a:1"}, .deleted = true}}},
        RemoveCase{"short_id", {"a:1"}, {}, {{.word = "SHORT", .untagged = {"a:1"}, .deleted = true}}},
        RemoveCase{"no_name", {}, {}, {{.word = "ID", .deleted = true}}},
        RemoveCase{"two_tags",
                   {"a:1", "a:2"},
                   {},
                   {{.word = "SHORT"}, {.word = "SHORT", .force = true, .untagged = {"a:1", "a:2"}, .deleted = true}}},
        RemoveCase{"two_repositories",
                   {"a:1", "b:1"},
                   {},
                   {{.word = "ID"}, {.word = "ID", .force = true, .untagged = {"a:1", "b:1"}, .deleted = true}}},
        RemoveCase{"tag_and_its_digest",
                   {"reg:5000/p:1"},
                   {kDigestP},
                   {{.word = "SHORT", .untagged = {"reg:5000/p:1", kDigestP}, .deleted = true}}},
        RemoveCase{"tag_and_other_digest", {"a:1"}, {kDigestP}, {{.word = "SHORT"}}},
        RemoveCase{"only_digest", {}, {kDigestP}, {{.word = "SHORT", .untagged = {kDigestP}, .deleted = true}}},
        RemoveCase{"digests_of_two_repositories", {}, {kDigestP, kDigestQ}, {{.word = "SHORT"}}}),
    [](auto const& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    OfContainers, Remove,
    ::testing::Values(
        RemoveCase{"stopped",
                   {"a:1"},
                   {},
                   {{.word = "a:1", .use = Use::kStopped},
                    {.word = "ID", .use = Use::kStopped},
                    {.word = "a:1", .force = true, .use = Use::kStopped, .untagged = {"a:1"}, .deleted = true}}},
        RemoveCase{"stopped_with_two_names",
                   {"a:1", "b:1"},
                   {},
                   {{.word = "a:1", .use = Use::kStopped, .untagged = {"a:1"}},
                    {.word = "b:1", .use = Use::kStopped},
                    {.word = "ID", .force = true, .use = Use::kStopped, .untagged = {"b:1"}, .deleted = true}}},
        RemoveCase{"stopped_with_digest",
                   {"reg:5000/p:1"},
                   {kDigestP},
                   {{.word = "reg:5000/p:1", .use = Use::kStopped}, {.word = kDigestP, .use = Use::kStopped}}},
        RemoveCase{"running",
                   {"a:1"},
                   {},
                   {{.word = "a:1", .use = Use::kRunning},
                    {.word = "ID", .use = Use::kRunning},
                    {.word = "ID", .force = true, .use = Use::kRunning},
                    {.word = "a:1", .force = true, .use = Use::kRunning, .untagged = {"a:1"}}}},
        RemoveCase{"running_with_two_names",
                   {"a:1", "b:1"},
                   {},
                   {{.word = "a:1", .use = Use::kRunning, .untagged = {"a:1"}}}}),
    [](auto const& info) { return info.param.name; });

class Local : public ImageTest {};

TEST_F(Local, RemoveSharesLayersUntilTheLastImageGoes) {
  std::string const shared = tar_of({{"shared", "s", ""}});
  EXPECT_OK(load_bytes(docker_archive({shared}, {"a:1"}, "a")));
  EXPECT_OK(load_bytes(docker_archive({shared, tar_of({{"own", "o", ""}})}, {"b:1"}, "b")));
  Removal const first = remove(store(), "b:1", {}).value();
  EXPECT_EQ(first.deleted.size(), 2U);  // the image and its own layer
  Removal const second = remove(store(), "a:1", {}).value();
  EXPECT_EQ(second.deleted.size(), 2U);
  EXPECT_TRUE(store().list_layers().value().empty());
  EXPECT_TRUE(store().list_blobs().value().empty());
}

TEST_F(Local, RemoveOfWhatIsNotThere) {
  EXPECT_EQ(code_of(remove(store(), "nosuch", {})), Errc::kNotFound);
  EXPECT_EQ(code_of(remove(store(), "UPPER", {})), Errc::kInvalidArgument);
}

TEST_F(Local, RemoveKeepsLayersOfALease) {
  oci::Digest const id = add_image("x", {"a:1"});
  std::string const layer = store().find_image(id).value()->image.layers[0];
  EXPECT_OK(store().add_lease("container", {layer}, {}));
  EXPECT_EQ(remove(store(), "a:1", {}).value().deleted, Names{id.text()});
  EXPECT_EQ(file(layer, "x"), "x");
}

TEST_F(Local, TagMovesANameToAnotherImage) {
  oci::Digest const first = add_image("x", {"a:1"});
  oci::Digest const second = add_image("y", {"b:1"});
  EXPECT_OK(tag(store(), "b:1", "a:1"));
  EXPECT_TRUE(store().find_image(first).value()->tags.empty());
  EXPECT_EQ(store().find_image(second).value()->tags,
            (Names{std::string(kLocal) + "a:1", std::string(kLocal) + "b:1"}));
  EXPECT_OK(tag(store(), first.short_hex(), "c"));
  EXPECT_EQ(store().find_image(first).value()->tags, Names{std::string(kLocal) + "c:latest"});
}

TEST_F(Local, TagRefusesWhatIsNoName) {
  add_image("x", {"a:1"});
  EXPECT_EQ(code_of(tag(store(), "a:1", kDigestP)), Errc::kInvalidArgument);
  EXPECT_EQ(code_of(tag(store(), "a:1", "UPPER")), Errc::kInvalidArgument);
  EXPECT_EQ(code_of(tag(store(), "a:1", std::string(64, 'a'))), Errc::kInvalidArgument);
  EXPECT_EQ(code_of(tag(store(), "nosuch", "b")), Errc::kNotFound);
}

struct PruneCase {
  std::string name;
  bool all = false;
  Names filters;
  Names kept;  // labels of images
};
class Prune : public ImageTest, public ::testing::WithParamInterface<PruneCase> {};

TEST_P(Prune, KeepsWhatIsNamedOrUsed) {
  std::map<std::string, oci::Digest> ids;
  ids.emplace("named", add_image("named", {"a:1"}));
  ids.emplace("digest", add_image("digest", {}, {kDigestP}));
  ids.emplace("bare", add_image("bare", {}));
  ids.emplace("used", add_image("used", {}));
  PruneOptions options{.all = GetParam().all,
                       .filter = parse_list_filters(GetParam().filters, now_).value(),
                       .user = [&](oci::Digest const& id) {
                         return User{.use = id == ids.at("used") ? Use::kStopped : Use::kNone, .container = "c"};
                       }};
  Removal const removal = prune(store(), options).value();
  Names kept;
  for (auto const& [label, id] : ids) {
    if (store().find_image(id).value()) kept.push_back(label);
  }
  EXPECT_EQ(kept, GetParam().kept);
  EXPECT_EQ(store().list_layers().value().size(), kept.size());
  EXPECT_EQ(removal.freed_bytes > 0, kept.size() < 4);
}

INSTANTIATE_TEST_SUITE_P(
    Table, Prune,
    ::testing::Values(PruneCase{"dangling", false, {}, {"named", "used"}}, PruneCase{"all", true, {}, {"used"}},
                      PruneCase{"all_by_filter", false, {"dangling=false"}, {"used"}},
                      PruneCase{"label", true, {"label=name=bare"}, {"digest", "named", "used"}},
                      PruneCase{"not_label", true, {"label!=name=bare"}, {"bare", "used"}},
                      PruneCase{"until_long_ago", true, {"until=2020-01-01"}, {"bare", "digest", "named", "used"}},
                      PruneCase{"until_now", true, {"until=1s"}, {"used"}}),
    [](auto const& info) { return info.param.name; });

std::string history_config(Names const& layer_tars, bool history) {
  oci::ImageConfig config;
  config.platform = oci::host_platform();
  for (std::string const& tar : layer_tars) config.diff_ids.push_back(digest_of(tar));
  if (history) {
    config.history = {{.created = "", .created_by = "ADD", .author = "", .comment = "", .empty_layer = false},
                      {.created = "", .created_by = "ENV", .author = "", .comment = "", .empty_layer = true},
                      {.created = "", .created_by = "RUN", .author = "", .comment = "c", .empty_layer = false}};
  }
  return oci::to_json(config);
}

TEST_F(Local, HistoryCountsEmptyLayersAndWithoutHistoryLayers) {
  Names const tars = {tar_of({{"a", "12345", ""}}), tar_of({{"b", "123", ""}})};
  for (bool const with : {true, false}) {
    std::string const name = with ? "with:1" : "without:1";
    EXPECT_OK(
        load_bytes(tar_of({{"0.tar", tars[0], ""},
                           {"1.tar", tars[1], ""},
                           {"c.json", history_config(tars, with), ""},
                           {"manifest.json", "[" + manifest_item("c.json", {name}, {"0.tar", "1.tar"}) + "]", ""}})));
  }
  std::vector<HistoryLine> const with = history(store(), "with:1").value();
  ASSERT_EQ(with.size(), 3U);
  EXPECT_EQ(with[0].created_by, "RUN");
  EXPECT_EQ(with[0].size, 3U);
  EXPECT_EQ(with[0].comment, "c");
  EXPECT_EQ(with[0].tags, Names{"with:1"});
  EXPECT_EQ(with[0].id, find(store(), "with:1").value().entry.image.id.text());
  EXPECT_EQ(with[1].size, 0U);
  EXPECT_EQ(with[1].id, "<missing>");
  EXPECT_EQ(with[2].size, 5U);
  std::vector<HistoryLine> const without = history(store(), "without:1").value();
  ASSERT_EQ(without.size(), 2U);
  EXPECT_EQ(without[0].size, 3U);
  EXPECT_EQ(without[1].size, 5U);
}

TEST_F(Local, DiskUsageTellsSharedFromUnique) {
  std::string const shared = tar_of({{"shared", std::string(5000, 's'), ""}});
  EXPECT_OK(load_bytes(docker_archive({shared}, {"a:1"}, "a")));
  EXPECT_OK(load_bytes(docker_archive({shared, tar_of({{"own", std::string(300, 'o'), ""}})}, {"b:1"}, "b")));
  oci::Digest const a = find(store(), "a:1").value().entry.image.id;
  oci::Digest const b = find(store(), "b:1").value().entry.image.id;
  DiskUsage const usage = disk_usage(store(), {}).value();
  ASSERT_EQ(usage.images.size(), 2U);
  for (ImageUsage const& each : usage.images) {
    EXPECT_EQ(each.shared_size, 5000U);
    EXPECT_EQ(each.unique_size, each.id == b ? 300U : 0U);
    EXPECT_EQ(each.size, each.id == b ? 5300U : 5000U);
  }
  EXPECT_EQ(usage.reclaimable_bytes, usage.layers_bytes + usage.blobs_bytes);
  DiskUsage const used = disk_usage(store(), [&](oci::Digest const& id) {
                           return User{.use = id == a ? Use::kRunning : Use::kNone, .container = ""};
                         }).value();
  EXPECT_LT(used.reclaimable_bytes, usage.reclaimable_bytes);
  EXPECT_GT(used.reclaimable_bytes, 0U);
}

}  // namespace
}  // namespace davit::image
