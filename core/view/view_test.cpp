// SPDX-License-Identifier: Apache-2.0
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/config/json.h"
#include "core/io/png.h"
#include "core/io/test_folder.h"
#include "core/io/volume_file.h"
#include "core/view/chart.h"
#include "core/view/html.h"
#include "core/view/run_page.h"
#include "core/view/training_log.h"

#include <nlohmann/json.hpp>

#include <catch2/catch.hpp>
#include <limits>

namespace medgen {
namespace {

namespace fs = std::filesystem;
using Catch::Contains;

constexpr const char* kHostile = "<script>alert(1)</script>\" onload='x' & {{body}}";

void put(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  write_file(file, text);
}

void put_volume(const fs::path& file, DType dtype) {
  fs::create_directories(file.parent_path());
  write_volume(file, Volume(Tensor::zeros(dtype, {8, 9, 10}), {}));
}

std::string log_lines(int from, int to, const std::string& more = "") {
  std::string text;
  for (int i = from; i <= to; ++i)
    text += fmt::format("{{\"iteration\":{},\"seconds\":{},\"learning_rate\":0.001,\"loss\":{}{}}}\n", i, 2 * i,
                        1.0 / i, more);
  return text;
}

/// Opening and closing tags of the elements that have both.
void require_balanced(const std::string& html) {
  for (const char* element : {"html", "head", "body", "main", "section", "figure", "svg", "dl", "div", "table", "tr",
                              "td", "details", "pre", "p", "ul", "li", "h2", "text"}) {
    std::size_t opened = 0;
    std::size_t closed = 0;
    const std::string name(element);
    for (const char* after : {">", " "}) {
      for (auto at = html.find("<" + name + after); at != std::string::npos; at = html.find("<" + name + after, at + 1))
        ++opened;
    }
    for (auto at = html.find("</" + name + ">"); at != std::string::npos; at = html.find("</" + name + ">", at + 1))
      ++closed;
    INFO(name);
    REQUIRE(opened == closed);
  }
}

/// Nothing is fetched, and nothing runs.
void require_self_contained(const std::string& html) {
  for (const char* forbidden : {"<script", "http://", "https://", "<link", "url(", "onload='"})
    REQUIRE_THAT(html, !Contains(forbidden));
  REQUIRE_THAT(html, Contains("default-src 'none'"));
  require_balanced(html);
}

}  // namespace

TEST_CASE("view: a curve that is constant but for rounding is drawn", "[unit][view]") {
  Curve curve;
  for (int i = 0; i < 5000; ++i) curve.emplace_back(10.0 * i, 1e-4);
  const std::string chart = svg_chart("learning_rate", curve, false);
  CHECK(chart.size() < 100000);
  CHECK_THAT(chart, Catch::Contains("<svg"));
}

TEST_CASE("html: text is escaped, and bytes that are no text are replaced", "[unit][view]") {
  REQUIRE(html::escaped("a<b>&\"'") == "a&lt;b&gt;&amp;&quot;&#39;");
  REQUIRE(html::escaped("Größe 体\n") == "Größe 体\n");
  REQUIRE(html::escaped(std::string("\0\x1b\x7f", 3)) == "\uFFFD\uFFFD\uFFFD");
  REQUIRE(html::escaped("\xff<\xc3") == "\uFFFD&lt;\uFFFD");
  REQUIRE(html::escaped("\xc0\xbc\xed\xa0\x80") == "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD");  // overlong, surrogate
}

TEST_CASE("html: pictures become base64", "[unit][view]") {
  REQUIRE(html::png_uri("") == "data:image/png;base64,");
  REQUIRE(html::png_uri("f") == "data:image/png;base64,Zg==");  // RFC 4648
  REQUIRE(html::png_uri("fo") == "data:image/png;base64,Zm8=");
  REQUIRE(html::png_uri("foobar") == "data:image/png;base64,Zm9vYmFy");
  REQUIRE(html::png_uri("\xff\xfe\xfd") == "data:image/png;base64,//79");
}

TEST_CASE("html: values are put into the template once", "[unit][view]") {
  REQUIRE(html::filled("<{{a}}|{{b}}>", {{"a", "{{b}}"}, {"b", "2"}}) == "<{{b}}|2>");
  REQUIRE(html::filled("{{none}}x", {}) == "x");
}

TEST_CASE("chart: thinning keeps the range and the last point", "[unit][view]") {
  Curve curve;
  for (int i = 0; i <= 100000; ++i) curve.emplace_back(i, i % 2);
  const Curve thin = thinned(curve, 400);
  REQUIRE(thin.size() == 400);
  REQUIRE(thin.back() == curve.back());
  REQUIRE(thin.front().second == Approx(0.5).margin(0.01));
  REQUIRE(thinned(thin, 400) == thin);
  REQUIRE(smoothed(Curve(100, {0, 5})).front().second == Approx(5));
}

TEST_CASE("chart: odd curves are drawn with finite numbers, or not at all", "[unit][view]") {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  REQUIRE(svg_chart("loss", {}).empty());
  REQUIRE(svg_chart("loss", {{1, kNan}, {2, std::numeric_limits<double>::infinity()}}).empty());
  const std::vector<Curve> odd = {{{1, 0}},
                                  {{1, 3}, {2, 3}},
                                  {{1, -1e300}, {2, 1e300}},
                                  {{1, 1e-300}, {2, 1e300}},
                                  {{1, 1}, {2, kNan}, {3, 2}},
                                  {{5, 1}, {5, 2}}};
  for (const Curve& curve : odd) {
    const std::string svg = svg_chart(kHostile, curve);
    REQUIRE_THAT(svg, Contains("<polyline") && !Contains("<script"));
    const std::string drawing = svg.substr(svg.find("<svg"));
    REQUIRE_THAT(drawing, !Contains("nan") && !Contains("inf"));
    require_balanced(svg);
  }
  REQUIRE_THAT(svg_chart("loss", {{1, 1}, {2, 1000}}), Contains("logarithmic"));
}

TEST_CASE("training log: curves, speed and time left; torn lines are counted", "[unit][view]") {
  const TestFolder folder;
  put(folder.path / "unet/log.jsonl",
      log_lines(1, 10, ",\"iterations\":100") + "[1]\n{\"iteration\":11,\"seconds\":22,\"lo");
  const TrainingLog log = read_training_log(folder.path / "unet/");
  REQUIRE(log.name == "unet");
  REQUIRE(log.iteration == 10);
  REQUIRE(log.torn == 2);
  REQUIRE(log.curves.at("loss").size() == 10);
  REQUIRE(log.curves.at("speed").front().second == Approx(0.5));
  REQUIRE(*log.seconds_left() == Approx(180));
  REQUIRE_FALSE(log.complete());
  REQUIRE_FALSE(log.curves.contains("iterations"));
  REQUIRE_THROWS_AS(read_training_log(folder.path), DataError);
}

TEST_CASE("view: a training that is under way has curves, state and pictures", "[unit][view]") {
  const TestFolder folder;
  const fs::path training = folder.path / "training/vae";
  put(training / "log.jsonl", log_lines(1, 50, ",\"iterations\":100"));
  put(training / "samples/000050.png", encode_png(Picture(3, 3, Rgb{1, 2, 3})));
  const RunPage page = make_run_page(folder.path, 4, {});
  REQUIRE(page.curves == 3);
  REQUIRE(page.samples == 1);
  REQUIRE(page.problems.empty());
  REQUIRE_THAT(page.html, Contains("Training vae") && Contains("50 of 100") && Contains("time left") &&
                              Contains("1 min 40 s") && Contains("not complete") && Contains("data:image/png;base64,"));
  require_self_contained(page.html);
  put(training / "log.jsonl", log_lines(1, 100, ",\"iterations\":100"));
  const std::string done = make_run_page(training, 4, {}).html;
  REQUIRE_THAT(done, Contains("<dd>complete</dd>") && !Contains("time left"));
}

TEST_CASE("view: why a training stopped is told, until it goes on", "[unit][view]") {
  const TestFolder folder;
  const fs::path log = folder.path / "training/vae/log.jsonl";
  const std::string lines =
      log_lines(1, 50, ",\"iterations\":100") + R"({"iteration":50,"stopped":"the loss is nan"})" + '\n';
  put(log, lines);
  const std::string stopped = make_run_page(folder.path, 4, {}).html;
  REQUIRE_THAT(stopped, Contains("stopped: the loss is nan") && !Contains("time left") && !Contains("not complete"));
  put(folder.path / "model.json", "{}");
  REQUIRE_THAT(make_run_page(folder.path, 4, {}).html, Contains("complete, ended early: the loss is nan"));
  put(log, lines + log_lines(51, 60, ",\"iterations\":100"));
  REQUIRE_FALSE(read_training_log(log.parent_path()).stopped);
}

TEST_CASE("view: a run shows what was run and its samples", "[unit][view]") {
  const TestFolder folder;
  put_volume(folder.path / "images/a.nii.gz", DType::I16);
  put_volume(folder.path / "labels/a.nii.gz", DType::U8);
  put_volume(folder.path / "b_image.nii.gz", DType::I16);
  put(folder.path / "run.json", R"({"medgen": 1, "seed": 42, "run": {"status": "complete", "seconds": 3725.5,
    "peak_memory_bytes": 209715200, "models": [{"step": "mr", "name": "hippocampus", "license": "CC-BY-SA-4.0"}],
    "samples": [{"name": "a", "files": {"labels/a.nii.gz": "x", "images/a.nii.gz": "y"}},
                {"name": "b", "files": {"b_image.nii.gz": "z"}}]}})");
  const RunPage page = make_run_page(folder.path, 16, {});
  REQUIRE(page.samples == 2);
  REQUIRE(page.problems.empty());
  REQUIRE_THAT(page.html, Contains("<dd>42</dd>") && Contains("1 h 2 min") && Contains("200 MiB") &&
                              Contains("CC-BY-SA-4.0") && Contains("alt=\"a\""));
  require_self_contained(page.html);
  const RunPage few = make_run_page(folder.path, 1, {});
  REQUIRE(few.samples == 1);
  REQUIRE_THAT(few.html, Contains("1 more are not drawn"));
}

TEST_CASE("view: a run that has not ended is read from its journal, torn or not", "[unit][view]") {
  const TestFolder folder;
  put_volume(folder.path / "images/a.nii.gz", DType::I16);
  put(folder.path / "run.journal.jsonl",
      "{\"fingerprint\":\"f\"}\n{\"fingerprint\":\"f\",\"sample\":{\"name\":\"a\",\"files\":{\"images/"
      "a.nii.gz\":\"x\"}}}\n"
      "{\"fingerprint\":\"f\",\"sam");
  const RunPage page = make_run_page(folder.path, 16, {});
  REQUIRE(page.samples == 1);
  REQUIRE_THAT(page.html, Contains("not ended"));
}

TEST_CASE("view: names from files stay text", "[unit][view]") {
  const TestFolder folder;
  Json files = {{"images/none.nii.gz", "x"}};
  const Json run = {{"status", kHostile},
                    {"models", {{{"name", kHostile}, {"credit", kHostile}}, 7}},
                    {"samples", {{{"name", kHostile}, {"files", files}}}}};
  put(folder.path / "run.json", Json{{"seed", kHostile}, {"run", run}}.dump());
  put(folder.path / "model.json", Json{{"name", kHostile}, {"credit", kHostile}}.dump());
  put(folder.path / "training/vae/log.jsonl", Json{{"iteration", 1}, {"seconds", 1}, {kHostile, 1.5}}.dump() + "\n");
  put(folder.path / "training/vae/samples/<script>.png", "no png");
  require_self_contained(make_run_page(folder.path, 16, {}).html);
}

TEST_CASE("view: files that are missing, damaged or outside are told, and the page is written", "[unit][view]") {
  const TestFolder folder;
  put(folder.path / "run/images/damaged.nii.gz", "damaged");
  put_volume(folder.path / "secret.nii.gz", DType::I16);
  put(folder.path / "run/run.json", R"({"run": {"samples": [
    {"name": "missing", "files": {"images/missing.nii.gz": "x"}}, {"name": "damaged", "files": {"images/damaged.nii.gz": 3}},
    {"name": "outside", "files": {"../secret.nii.gz": "x"}}, {"name": "rooted", "files": {"/etc/x.nii.gz": "x"}},
    {"name": "odd", "files": 3}, 4, {"name": "latent", "files": {"latents/a.safetensors": "x"}}]}})");
  const RunPage page = make_run_page(folder.path / "run", 16, {});
  REQUIRE(page.samples == 0);
  REQUIRE(page.problems.size() == 6);
  REQUIRE_THAT(page.html,
               Contains("../secret.nii.gz&#39; lies outside the folder") && Contains("What could not be shown"));
  require_self_contained(page.html);
}

TEST_CASE("view: a folder without a run and a record that is none are refused", "[unit][view]") {
  const TestFolder folder;
  REQUIRE_THROWS_AS(make_run_page(folder.path, 1, {}), DataError);
  REQUIRE_THROWS_AS(make_run_page(folder.path / "none", 1, {}), DataError);
  for (const std::string& text : {std::string(), std::string("[]"), std::string("{\"run\":"), std::string("\xff")}) {
    put(folder.path / "run.json", text);
    REQUIRE_THROWS_AS(make_run_page(folder.path, 1, {}), DataError);
  }
  put(folder.path / "run.json", "{\n\"run\": }");
  REQUIRE_THROWS_WITH(make_run_page(folder.path, 1, {}), Catch::Contains("run.json:2:8: "));
  put(folder.path / "run.json", "{\"run\": " + std::string(100000, '[') + std::string(100000, ']') + "}");
  require_self_contained(make_run_page(folder.path, 1, {}).html);
  CancelToken token;
  token.cancel();
  put_volume(folder.path / "images/a.nii.gz", DType::I16);
  put(folder.path / "run.json", R"({"run": {"samples": [{"name": "a", "files": {"images/a.nii.gz": "x"}}]}})");
  RunObserver observer;
  observer.cancel = &token;
  REQUIRE_THROWS_AS(make_run_page(folder.path, 1, observer), Cancelled);
}

}  // namespace medgen
