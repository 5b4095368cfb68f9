(function () {
  "use strict";
  var rows = Array.prototype.slice.call(document.querySelectorAll(".cliplist tbody tr"));
  var buttons = Array.prototype.slice.call(document.querySelectorAll("[data-filter]"));
  var search = document.getElementById("search");
  var count = document.getElementById("count");
  var filter = "all";
  var title = document.title;

  function shown() {
    return rows.filter(function (row) { return !row.hidden; });
  }

  function apply() {
    var words = search.value.toLowerCase().trim();
    rows.forEach(function (row) {
      var kept = filter === "all" || row.hasAttribute("data-" + filter);
      row.hidden = !(kept && (!words || row.textContent.toLowerCase().indexOf(words) >= 0));
    });
    var n = shown().length;
    count.textContent = n === rows.length ? n + " clips" : n + " of " + rows.length + " clips";
  }

  /* previous and next follow the list as it is filtered now */
  function neighbours() {
    var clip = document.querySelector(".clip:target, .clip:has(:target)");
    document.title = clip ? clip.querySelector("h1").textContent : title;
    if (!clip) { return; }
    var list = shown().map(function (row) { return row.getAttribute("data-href"); });
    var at = list.indexOf(encodeURIComponent(clip.id));
    var previous = clip.querySelector(".previous");
    var next = clip.querySelector(".next");
    clip.querySelector(".back").setAttribute("href", "#row-" + encodeURIComponent(clip.id.slice(5)));
    set(previous, at > 0 ? list[at - 1] : "");
    set(next, at >= 0 && at + 1 < list.length ? list[at + 1] : "");
    if (!clip.matches(":target")) { return; }
    window.scrollTo(0, 0);
    clip.querySelector("h1").focus({ preventScroll: true });
  }

  /* a sentence of the prompt shows its time in the chart */
  document.querySelectorAll(".told").forEach(function (told) {
    var clip = told.closest(".clip");
    var marker = clip.querySelector(".marker");
    function show() {
      clip.querySelectorAll(".told.on").forEach(function (other) { other.classList.remove("on"); });
      told.classList.add("on");
      if (!marker) { return; }
      marker.hidden = false;
      marker.style.left = told.dataset.left + "%";
      marker.style.width = told.dataset.width + "%";
      clip.querySelector(".when").textContent = told.title + ": " + told.textContent;
    }
    told.addEventListener("mouseenter", show);
    told.addEventListener("focus", show);
    told.addEventListener("click", function (event) {
      event.preventDefault();
      show();
      if (marker) { marker.scrollIntoView({ block: "nearest" }); }
    });
  });

  function set(link, target) {
    if (target) {
      link.setAttribute("href", "#" + target);
      link.removeAttribute("aria-disabled");
    } else {
      link.removeAttribute("href");
      link.setAttribute("aria-disabled", "true");
    }
  }

  buttons.forEach(function (button) {
    button.addEventListener("click", function () {
      filter = button.getAttribute("data-filter");
      buttons.forEach(function (b) { b.setAttribute("aria-pressed", String(b === button)); });
      apply();
    });
  });
  search.addEventListener("input", apply);
  document.addEventListener("keydown", function (event) {
    var clip = document.querySelector(".clip:target, .clip:has(:target)");
    if (!clip || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) { return; }
    if (event.target.closest && event.target.closest(".scroll") && event.key !== "Escape") { return; }
    var name = { ArrowLeft: ".previous", ArrowRight: ".next", Escape: ".back" }[event.key];
    var link = name && clip.querySelector(name);
    if (link && link.hasAttribute("href")) { event.preventDefault(); link.click(); }
  });
  window.addEventListener("hashchange", neighbours);
  neighbours();
}());
