// One clock per episode: its first video, or real time where there is none. Labels, charts and the
// other videos follow it.
for (const episode of document.querySelectorAll(".episode")) {
  const fps = Number(episode.dataset.fps), frames = Number(episode.dataset.frames);
  const duration = frames / fps;
  const videos = [...episode.querySelectorAll("video")];
  const strips = [...episode.querySelectorAll(".strip")];
  const cursors = [...episode.querySelectorAll(".cursor")];
  const button = episode.querySelector(".transport button");
  const slider = episode.querySelector(".transport input");
  const output = episode.querySelector(".transport output");
  if (!slider || frames === 0) continue;
  const times = [...episode.querySelectorAll(".still")];
  const stills = Number(strips[0]?.dataset.count ?? 1);
  // Still i of n is frame floor(i (frames − 1) / (n − 1)); the one shown is the last that is not ahead.
  const stillFrame = (i, n) => (n > 1 ? Math.floor((i * (frames - 1)) / (n - 1)) : 0);
  const stillAt = (frame, n) => {
    if (n < 2 || frames < 2) return 0;
    let i = Math.min(n - 1, Math.ceil(((frame + 1) * (n - 1)) / (frames - 1)));
    while (i > 0 && stillFrame(i, n) > frame) i--;
    return i;
  };
  let playing = true, clock = 0, last = performance.now();

  const show = (t) => {
    const frame = Math.min(frames - 1, Math.floor(t * fps + 1e-3));
    for (const strip of strips) {
      const count = Number(strip.dataset.count);
      const still = stillAt(frame, count);
      strip.style.backgroundPosition = `0 ${count > 1 ? (100 * still) / (count - 1) : 0}%`;
      strip.classList.toggle("none", strip.dataset.noneAt === String(still));
    }
    for (const time of times) {
      time.textContent = `${(stillFrame(stillAt(frame, stills), stills) / fps).toFixed(2)} s`;
    }
    const part = frame / Math.max(1, frames - 1);
    for (const cursor of cursors) {
      cursor.setAttribute("transform", `translate(${part * Number(cursor.dataset.width)} 0)`);
    }
    slider.value = String(Math.round(1000 * part));
    output.textContent = `${(frame / fps).toFixed(2)} s`;
  };

  const play = (on) => {
    playing = on;
    button.textContent = on ? "❚❚" : "▶";
    for (const video of videos) on ? video.play().catch(() => {}) : video.pause();
  };

  const seek = (t) => {
    clock = t;
    for (const video of videos) video.currentTime = t;
    show(t);
  };

  button.addEventListener("click", () => play(!playing));
  slider.addEventListener("input", () => {
    play(false);
    seek((Number(slider.value) / 1000) * Math.max(0, duration - 0.5 / fps));
  });
  for (const video of videos.slice(1)) {
    videos[0].addEventListener("seeked", () => {
      if (Math.abs(video.currentTime - videos[0].currentTime) > 1 / fps) video.currentTime = videos[0].currentTime;
    });
  }

  const tick = (now) => {
    if (episode.open && playing) {
      clock = videos.length ? videos[0].currentTime : (clock + (now - last) / 1000) % duration;
      show(clock);
    }
    last = now;
    requestAnimationFrame(tick);
  };
  show(0);
  requestAnimationFrame(tick);
}
